"use strict";
(() => {
  const rows = [...document.querySelectorAll(".row")];
  const cells = rows.flatMap((row) => [...row.querySelectorAll(".cell")]);
  const bar = document.querySelector(".keys");
  const now = bar.querySelector(".now");
  const toggle = bar.querySelector(".toggle");
  const rowOf = (cell) => cell.closest(".row");
  const audioOf = (cell) => cell.querySelector("audio");
  const cellsOf = (row) => [...row.querySelectorAll(".cell")];
  const secondsOf = (cell) => Number(cell.querySelector(".waveform").dataset.seconds);
  let active = null;

  // A row that is wider than the page is scrolled by keyboard, too.
  const widths = new ResizeObserver((seen) => seen.forEach(({ target }) => {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0; else target.removeAttribute("tabindex");
  }));
  rows.forEach((row) => widths.observe(row));

  function activate(cell) {
    if (active === cell) return;
    if (active) {
      audioOf(active).pause();
      active.classList.remove("active");
    }
    document.querySelectorAll(".view.at").forEach((view) => view.classList.remove("at"));
    active = cell;
    cell.classList.add("active");
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  // The position before anything is loaded is kept by the element, and is where it will start.
  function play(cell, time) {
    activate(cell);
    const audio = audioOf(cell);
    audio.currentTime = time < secondsOf(cell) ? time : 0;
    audio.play().catch(() => { now.textContent = "This browser can't play " + nameOf(cell); });
    show();
  }

  function nameOf(cell) {
    const label = cell.querySelector("h4").textContent;
    const heading = rowOf(cell).previousElementSibling;
    return heading && heading.tagName === "H3" ? heading.textContent + ": " + label : label;
  }

  function show() {
    if (!active) return;
    const audio = audioOf(active), row = rowOf(active);
    row.querySelectorAll(".view").forEach((view) => {
      view.style.setProperty("--at", audio.currentTime / Number(view.dataset.axis));
      view.classList.add("at");
    });
    now.textContent = nameOf(active) + "  " + audio.currentTime.toFixed(1) + " s" + (audio.loop ? ", repeats" : "");
    toggle.textContent = audio.paused ? "\u25b6" : "\u275a\u275a";
  }

  function follow() {
    show();
    if (active && !audioOf(active).paused) requestAnimationFrame(follow);
  }

  // To another clip of the row at the same time, or to another row from its start.
  function step(across, down) {
    if (!active) return play(cells[0], 0);
    const row = rowOf(active), mates = cellsOf(row), index = mates.indexOf(active);
    const audio = audioOf(active), playing = !audio.paused;
    let target = mates[index + across], time = audio.currentTime;
    if (down) {
      const other = rows[rows.indexOf(row) + down];
      const choice = other ? cellsOf(other) : [];
      target = choice[Math.min(index, choice.length - 1)];
      time = 0;
    }
    choose(target, time, playing);
  }

  function choose(target, time, playing) {
    if (!target) return;
    if (playing) return play(target, time);
    activate(target);
    audioOf(target).currentTime = time < secondsOf(target) ? time : 0;
    show();
  }

  function pick(number) {
    const row = active ? rowOf(active) : rows[0];
    const time = active ? audioOf(active).currentTime : 0;
    choose(cellsOf(row)[number - 1], time, !active || !audioOf(active).paused);
  }

  function playOrPause() {
    if (!active) return play(cells[0], 0);
    const audio = audioOf(active);
    if (audio.paused) audio.play(); else audio.pause();
  }

  function seek(time) {
    if (!active) return;
    audioOf(active).currentTime = Math.min(Math.max(0, time), secondsOf(active));
    show();
  }

  function repeat() {
    const on = !cells.some((cell) => audioOf(cell).loop);
    cells.forEach((cell) => { audioOf(cell).loop = on; });
    show();
  }

  const KEYS = {
    " ": playOrPause,
    ArrowLeft: () => step(-1, 0),
    ArrowRight: () => step(1, 0),
    ArrowUp: () => step(0, -1),
    ArrowDown: () => step(0, 1),
    ",": () => active && seek(audioOf(active).currentTime - 1),
    ".": () => active && seek(audioOf(active).currentTime + 1),
    0: () => seek(0),
    r: repeat,
  };

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const onControl = event.target.closest("a, button, summary, pre");
    if (onControl && (event.key === " " || event.key.startsWith("Arrow"))) return;
    const action = /^[1-9]$/.test(event.key) ? () => pick(Number(event.key)) : KEYS[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }, true);

  cells.forEach((cell) => {
    const view = cell.querySelector(".view"), audio = audioOf(cell);
    view.classList.add("ready");
    view.addEventListener("click", (event) => {
      const box = view.getBoundingClientRect();
      play(cell, (event.clientX - box.left) / box.width * Number(view.dataset.axis));
    });
    audio.addEventListener("play", () => { activate(cell); follow(); });
    audio.addEventListener("pause", show);
    audio.addEventListener("seeked", () => { if (cell === active) show(); });
  });
  toggle.addEventListener("click", playOrPause);
  bar.querySelector(".before").addEventListener("click", () => step(-1, 0));
  bar.querySelector(".after").addEventListener("click", () => step(1, 0));
  if (cells.length) bar.hidden = false;
  // The newest step is at the right.
  document.querySelectorAll(".steps").forEach((row) => { row.scrollLeft = row.scrollWidth; });
})();
