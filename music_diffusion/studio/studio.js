"use strict";
// What gradio's components don't do: cards of jobs that go on playing while the list changes, and a
// waveform on which a part is chosen. Texts are set as text, never as HTML.
window.studio = (() => {
  const SVG = "http://www.w3.org/2000/svg";

  function make(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (value !== null && value !== false) made.setAttribute(name, value === true ? "" : value);
    }
    made.append(...children.filter((child) => child !== null));
    return made;
  }

  function waveform(clip) {
    const svg = document.createElementNS(SVG, "svg"), path = document.createElementNS(SVG, "path");
    svg.setAttribute("viewBox", clip.box);
    svg.setAttribute("preserveAspectRatio", "none");
    svg.setAttribute("class", "waveform");
    svg.setAttribute("aria-hidden", "true");
    path.setAttribute("d", clip.waveform);
    svg.append(path);
    return svg;
  }

  function view(clip, audio) {
    const frame = make("div", { class: "view" }, waveform(clip));
    if (clip.picture) {
      const image = make("img", { src: clip.picture.url, alt: "", loading: "lazy" });
      image.style.cssText = clip.picture.style;
      frame.append(make("div", { class: "spectrogram" }, image));
    }
    const line = make("div", { class: "at" });
    frame.append(line);
    const show = () => {
      line.style.left = 100 * audio.currentTime / (clip.seconds || 1) + "%";
      line.classList.toggle("on", audio.currentTime > 0);
    };
    const follow = () => { show(); if (!audio.paused) requestAnimationFrame(follow); };
    audio.addEventListener("play", () => { pauseOthers(audio); follow(); });
    audio.addEventListener("seeked", show);
    audio.addEventListener("pause", show);
    frame.addEventListener("click", (event) => {
      const box = frame.getBoundingClientRect();
      audio.currentTime = (event.clientX - box.left) / box.width * clip.seconds;
      audio.play();
    });
    return frame;
  }

  function pauseOthers(audio) {
    document.querySelectorAll("audio").forEach((other) => { if (other !== audio) other.pause(); });
  }

  const length = (seconds) => seconds < 60 ? seconds.toFixed(2) + " s"
    : Math.floor(seconds / 60) + ":" + String(Math.round(seconds % 60)).padStart(2, "0");

  // A player asks for its length when it comes into sight: there may be hundreds of them.
  const sight = new IntersectionObserver((seen) => seen.filter((one) => one.isIntersecting).forEach(({ target }) => {
    target.preload = "metadata";
    sight.unobserve(target);
  }));

  function player(clip, label) {
    const audio = make("audio", { controls: true, preload: "none", src: clip.url, "aria-label": label });
    sight.observe(audio);
    return [view(clip, audio), audio];
  }

  // ---- jobs ----

  const STATES = { waiting: "waiting", running: "running", done: "done", failed: "failed", cancelled: "cancelled" };
  const KINDS = { make: "New", repair: "Repair", continue: "Continued", song: "Song" };

  const NOUNS = { make: "clip", repair: "variant", continue: "variant", song: "song" };

  // When a job was asked for, by which its clips are told from those of others.
  function when(job) {
    const asked = new Date(1000 * job.created), today = asked.toDateString() === new Date().toDateString();
    return today ? asked.toLocaleTimeString() : asked.toLocaleString();
  }

  function clipCell(job, clip, index, act) {
    const label = NOUNS[job.kind] + " " + (index + 1);
    const button = (text, action, title) => make("button", {
      type: "button", title, onclick: () => act({ action, job: job.name, clip: clip.reference }),
    }, text);
    const [frame, audio] = player(clip, KINDS[job.kind] + ", " + job.summary + ", " + when(job) + ", " + label);
    if (clip.part) frame.append(mark(clip));
    return make("article", { class: "cell" },
      make("header", {}, make("h3", {}, label), make("span", {}, when(job) + ", " + length(clip.seconds))),
      frame, clip.part && make("p", { class: "made" }, clip.part.text), audio,
      make("div", { class: "actions" },
        job.kind === "song" ? null : button("Vary", "vary", "More clips that resemble this one"),
        button("Continue", "continue", "Open it in Repair, to add seconds after its end, or to repair it"),
        button("Use as init", "init", "New clips start from this one"),
        make("a", { href: clip.url, download: job.name + "_" + clip.name }, "Download")));
  }

  // What a model made of a file's sound is shaded, as on the listening pages.
  function mark({ part, seconds }) {
    const shade = make("div", { class: "part" });
    shade.style.left = 100 * part.start / seconds + "%";
    shade.style.width = 100 * (part.stop - part.start) / seconds + "%";
    return shade;
  }

  function originalCell(clip) {
    return make("article", { class: "cell" },
      make("header", {}, make("h3", {}, "original"), make("span", {}, length(clip.seconds))),
      ...player(clip, "original of " + clip.name));
  }

  function progress(job) {
    if (job.state === "waiting") return job.ahead ? "waiting, " + job.ahead + " before it" : "waiting";
    if (job.state === "running") {
      if (!job.total || !job.done) return "starting: the model is loaded";
      if (job.finishing) return "finishing: the sound is decoded and written";
      return Math.floor(100 * job.done / job.total) + " %" + (job.left === null ? "" : ", about " + job.left + " s left, then decoding");
    }
    if (job.state === "failed") return "failed: " + job.error;
    return STATES[job.state] + (job.took ? " in " + job.took + " s" : "");
  }

  function card(job, act) {
    const made = make("section", { class: "job", "data-job": job.name, "data-kind": job.kind, "aria-label": KINDS[job.kind] + " " + job.name });
    const title = make("h2", {}, KINDS[job.kind], " ", make("span", {}, when(job) + ", " + job.summary));
    const state = make("p", { class: "state", role: "status" });
    const bar = make("progress", { max: 1, "aria-label": "progress" });
    const buttons = make("div", { class: "actions" });
    const clips = make("div", { class: "clips" }), notes = make("div", {});
    const settings = make("details", {}, make("summary", {}, "Settings"), make("pre", { tabindex: 0 }, JSON.stringify(job.settings, null, 1)));
    made.append(title, state, bar, buttons, notes, clips, settings);
    let before = "";
    made.update = (now) => {
      const text = progress(now);
      if (state.textContent !== text) state.textContent = text;
      bar.hidden = now.state !== "running";
      if (now.total && !now.finishing) bar.value = now.done / now.total; else bar.removeAttribute("value");
      if (now.state !== before) renew(now);
      if (now.finishing) {
        buttons.firstChild.disabled = true;
        buttons.firstChild.textContent = "Ends in a moment";
      }
    };
    function renew(now) {
      before = now.state;
      made.dataset.state = now.state;
      const over = !["waiting", "running"].includes(now.state);
      const action = over ? ["Again", "again"] : ["Cancel", "cancel"];
      buttons.replaceChildren(make("button", { type: "button", onclick: () => act({ action: action[1], job: now.name }) }, action[0]));
      notes.replaceChildren(...now.notes.map((note) => make("p", { class: "note" }, note)));
      const given = now.original && now.clips.length ? [originalCell(now.original)] : [];
      clips.replaceChildren(...given, ...now.clips.map((clip, index) => clipCell(now, clip, index, act)));
    }
    made.update(job);
    return made;
  }

  // A list of the jobs of some kinds, asked for each second while one runs.
  function jobs(element, trigger, kinds) {
    const list = element.querySelector(".jobs"), cards = new Map();
    const act = (what) => { trigger("act", what); setTimeout(refresh, 400); };
    let timer = null;

    async function refresh() {
      clearTimeout(timer);
      let busy = false;
      try {
        if (!document.hidden) busy = show(await (await fetch("studio/jobs")).json());
      } catch (error) {
        console.warn("the studio doesn't answer", error);
      }
      if (element.isConnected) timer = setTimeout(refresh, busy ? 1000 : 3000);
    }

    function show(found) {
      const ours = found.filter((job) => kinds.includes(job.kind));
      const names = new Set(ours.map((job) => job.name));
      for (const [name, old] of cards) if (!names.has(name)) { old.remove(); cards.delete(name); }
      let after = null;
      for (const job of ours) {
        let one = cards.get(job.name);
        if (one) one.update(job);
        else {
          one = card(job, act);
          cards.set(job.name, one);
          if (after) after.after(one); else list.prepend(one);
        }
        after = one;
      }
      list.classList.toggle("none", ours.length === 0);
      list.dataset.known = ours.length;
      return ours.some((job) => ["waiting", "running"].includes(job.state));
    }

    document.addEventListener("visibilitychange", refresh);
    window.addEventListener("studio-jobs", refresh);
    refresh();
  }

  // ---- numbers by name, such as a sampler's options ----

  const words = (name) => (name[0].toUpperCase() + name.slice(1)).replaceAll("_", " ");

  function options(element, props, watch) {
    const list = element.querySelector(".options");
    function build() {
      const fields = Object.entries(props.value || {}).map(([name, value]) => make("label", {},
        make("span", {}, words(name)),
        make("input", { type: "number", step: "any", value, name, placeholder: value === null ? "default" : "", oninput: (event) => {
          const given = event.target.value;
          props.value = { ...props.value, [name]: given === "" ? null : Number(given) };
        } })));
      list.replaceChildren(...fields);
    }
    const names = () => Object.keys(props.value || {}).join() + [...list.querySelectorAll("input")].some((input) =>
      (input.value === "" ? null : Number(input.value)) !== (props.value || {})[input.name]);
    let shown = null;
    const update = () => { if (names() !== shown) { build(); shown = names(); } };
    watch("value", update);
    update();
  }

  // ---- the sections of a song: what its parts are to be like ----

  function sections(element, props, watch) {
    const root = element.querySelector(".sections");
    let shown = null;

    const key = (value) => JSON.stringify([value.known, value.sections]);

    function set(list, build) {
      const value = { ...props.value, sections: list };
      if (!build) shown = key(value);  // what is typed stays, with the cursor in it
      props.value = value;
      if (build) update();
    }

    function field(index, name, title, attributes) {
      const list = attributes.choices && [["", "any"], ...attributes.choices.map((one) => [one, one])];
      const value = props.value.sections[index][name] ?? "";
      const given = (event) => event.target.value === "" ? null : attributes.type === "number" ? Number(event.target.value) : event.target.value;
      const onchange = (event) => set(props.value.sections.map((one, i) => i === index ? { ...one, [name]: given(event) } : one));
      const input = list
        ? make("select", { name, onchange }, ...list.map(([one, text]) => make("option", { value: one, selected: one === value }, text)))
        : make("input", { ...attributes, name, value, oninput: onchange });
      return make("label", attributes.wide ? { class: "wide" } : {}, make("span", {}, title), input);
    }

    function row(index) {
      const known = props.value.known, number = { type: "number", min: 0, step: "any" };
      return make("fieldset", {},
        make("legend", {}, "Section " + (index + 1)),
        field(index, "from", "From, in seconds", number),
        field(index, "to", "To, in seconds", { ...number, placeholder: "next or end" }),
        known.labels.length ? field(index, "label", "Label", { wide: true, choices: known.labels }) : null,
        known.tempo ? field(index, "tempo", "Tempo, in beats a minute", { ...number, placeholder: "any" }) : null,
        known.keys.length ? field(index, "key", "Key", { choices: known.keys }) : null,
        known.tags.length ? field(index, "tags", "Tags, such as piano=1, drums=0", { wide: true, placeholder: "any" }) : null,
        field(index, "guidance", "How much to rely on them", { ...number, placeholder: 2 }),
        make("div", { class: "actions" }, make("button", { type: "button", "aria-label": "Remove section " + (index + 1), onclick: () => {
          set(props.value.sections.filter((_, i) => i !== index), true);
          root.querySelector(".add").focus();
        } }, "Remove")));
    }

    function add() {
      const before = props.value.sections.at(-1);
      set([...props.value.sections, { from: before ? before.to ?? before.from + 10 : 0 }], true);
      [...root.querySelectorAll("fieldset")].at(-1).querySelector("input").focus();
    }

    function update() {
      const { known, sections: list } = props.value;
      if (key(props.value) === shown) return;
      shown = key(props.value);
      if (!known.labels.length && !known.tags.length && !known.tempo && !known.keys.length) {
        root.replaceChildren(make("p", {}, "None of the chosen models can be told what its music is like: choose one that was trained with labels or tags."));
        return;
      }
      const names = known.tags.length ? make("p", {}, "Tags: " + known.tags.join(", ")) : null;
      root.replaceChildren(...[
        make("p", {}, "Between sections nothing is asked for; without an end, one reaches to the next."),
        ...list.map((_, index) => row(index)), names,
        make("div", { class: "actions" }, make("button", { type: "button", class: "add", onclick: add }, "Add a section")),
      ].filter((child) => child !== null));
    }

    watch("value", update);
    update();
  }

  // ---- a music file from this machine, from the microphone, or from a job; and a part of it ----

  function source(element, props, trigger, watch, title, region) {
    const root = element.querySelector(".source");
    const note = make("p", { class: "state", role: "status" });
    const say = (text, wrong = false) => { note.textContent = text; note.classList.toggle("wrong", wrong); };
    const shown = make("div", { class: "shown" });
    const file = make("input", { type: "file", accept: "audio/*,video/*", "aria-label": title + ": a file", onchange: () => send(file.files[0]) });
    const record = make("button", { type: "button", onclick: () => recording ? recording.stop() : listen() }, "Record");
    const clear = make("button", { type: "button", onclick: () => set(null) }, "Remove");
    root.setAttribute("role", "group");
    root.setAttribute("aria-label", title);
    root.classList.toggle("parted", Boolean(region));
    root.append(make("h2", {}, title), make("div", { class: "actions" }, file, record, clear), note, shown);
    root.addEventListener("dragover", (event) => { event.preventDefault(); root.classList.add("over"); });
    root.addEventListener("dragleave", () => root.classList.remove("over"));
    root.addEventListener("drop", (event) => {
      event.preventDefault();
      root.classList.remove("over");
      send(event.dataTransfer.files[0]);
    });
    let recording = null, current = null;

    async function send(blob, name = blob && blob.name) {
      if (!blob) return;
      say("sending " + name + " …");
      const answer = await fetch("studio/uploads?name=" + encodeURIComponent(name), { method: "POST", body: blob }).catch(() => null);
      const text = answer ? await answer.text() : "the connection broke off: the file may be too large";
      const taken = answer !== null && answer.ok;
      set(taken ? JSON.parse(text) : null);  // a refused file leaves none: not the one before it
      say(taken ? "" : text, !taken);
      file.value = "";
    }

    async function listen() {
      if (!navigator.mediaDevices) { say("a browser records only from this machine, or over HTTPS", true); return; }
      try {
        const stream = await navigator.mediaDevices.getUserMedia({ audio: true }), parts = [];
        recording = new MediaRecorder(stream);
        recording.ondataavailable = (event) => {
          parts.push(event.data);
          if (recording && event.data.size) say("recording, " + Math.round((performance.now() - began) / 1000) + " s");
        };
        recording.onstop = () => {
          stream.getTracks().forEach((track) => track.stop());
          const kind = recording.mimeType.includes("mp4") ? "mp4" : recording.mimeType.includes("ogg") ? "ogg" : "webm";
          recording = null;
          record.textContent = "Record";
          send(new Blob(parts), "recording." + kind);
        };
        const began = performance.now();
        recording.start(500);
        record.textContent = "Stop";
        say("recording");
      } catch (error) {
        say("no microphone: " + error.message, true);
      }
    }

    function set(clip) {
      props.value = clip && { clip, start: null, stop: null };
      trigger("change");
      update();
    }

    function update() {
      const value = props.value, key = value && value.clip ? value.clip.reference : "";
      clear.hidden = !key;
      if (key === current) return;
      current = key;
      say("");
      shown.replaceChildren();
      if (!key) return;
      const [frame, audio] = player(value.clip, title);
      const name = key.startsWith("studio/uploads/") ? value.clip.name.replace(/^[0-9a-f]{8}_/, "") : key.replace(/^studio\//, "");
      shown.append(make("p", { class: "made" }, name + ", " + length(value.clip.seconds)), frame, audio);
      if (region) shown.append(part(frame, audio, value.clip, props));
    }

    watch("value", update);
    update();
  }

  const round = (seconds) => Math.floor(seconds * 1000 + 1e-6) / 1000;  // never beyond the end
  const NO_PART = "No part is chosen: drag over the waveform, or type where it starts and ends.";

  function fault(start, stop, most) {
    if (start === null || stop === null) return NO_PART;
    return 0 <= start && start < stop && stop <= most ? ""
      : "a part needs 0 <= start < end <= " + most.toFixed(2) + " s, the file's length, got " + start + " and " + stop;
  }

  // Hides what chooses a part where the file as a whole is continued.
  function partial(element, on) {
    element.querySelectorAll(".source.parted").forEach((one) => one.classList.toggle("whole", !on));
  }

  // The part between two times: dragged on the waveform, moved by arrow keys, or typed. There is none
  // at first; what is typed stays as it is, and what is wrong with it is said.
  function part(frame, audio, clip, props) {
    const most = clip.seconds;
    const shade = make("div", { class: "chosen" });
    const handles = ["start", "stop"].map((end) => make("div", {
      class: "handle " + end, role: "slider", tabindex: 0, "aria-label": end === "start" ? "Start of the part" : "End of the part",
      "aria-valuemin": 0, "aria-valuemax": most, onkeydown: (event) => nudge(event, end),
    }));
    const inputs = ["start", "stop"].map((end) => make("input", {
      type: "number", min: 0, max: most, step: "any", "aria-label": end === "start" ? "From, in seconds" : "To, in seconds",
      oninput: (event) => choose({ [end]: event.target.value === "" ? null : Number(event.target.value) }),
    }));
    const hear = make("button", { type: "button", onclick: play }, "Hear the part");
    const note = make("p", { class: "state", role: "status" });
    frame.append(shade, ...handles);
    frame.classList.add("regional");
    let drag = null;

    const at = (event) => {
      const box = frame.getBoundingClientRect();
      return Math.min(most, Math.max(0, (event.clientX - box.left) / box.width * most));
    };
    frame.addEventListener("pointerdown", (event) => {
      if (event.button || frame.closest(".whole")) return;
      const end = event.target.classList.contains("start") ? "start" : event.target.classList.contains("stop") ? "stop" : null;
      drag = { end, from: at(event), moved: false };
      frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => {
      if (!drag) return;
      const time = at(event);
      if (Math.abs(time - drag.from) * frame.clientWidth / most > 4) drag.moved = true;
      if (!drag.moved) return;
      if (drag.end) put(drag.end, time); else both(Math.min(time, drag.from), Math.max(time, drag.from));
    });
    const stop = () => { moved = drag !== null && drag.moved; drag = null; };
    let moved = false;
    frame.addEventListener("pointerup", stop);
    frame.addEventListener("pointercancel", stop);
    frame.addEventListener("click", (event) => { if (moved) { event.stopImmediatePropagation(); moved = false; } }, true);

    function nudge(event, end) {
      const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10 }[event.key];
      if (!by) return;
      event.preventDefault();
      put(end, props.value[end] + by * (event.shiftKey ? 0.01 : 0.1));
    }

    function put(end, time) {
      const { start, stop } = props.value;
      if (end === "start") both(Math.min(time, stop - 0.01), stop); else both(start, Math.max(time, start + 0.01));
    }

    function both(start, stop) {
      choose({ start: round(Math.min(most, Math.max(0, start))), stop: round(Math.min(most, Math.max(0, stop))) });
    }

    function choose(times) {
      props.value = { ...props.value, ...times };
      show();
    }

    function show() {
      const { start, stop } = props.value, wrong = fault(start, stop, most);
      note.textContent = wrong;
      note.classList.toggle("wrong", wrong !== "" && wrong !== NO_PART);
      [shade, ...handles].forEach((one) => { one.hidden = wrong !== ""; });
      hear.disabled = wrong !== "";
      shade.style.left = 100 * start / most + "%";
      shade.style.width = 100 * (stop - start) / most + "%";
      [start, stop].forEach((time, i) => {
        if (document.activeElement !== inputs[i]) inputs[i].value = time === null ? "" : wrong ? time : time.toFixed(2);
        if (wrong) return;
        handles[i].style.left = 100 * time / most + "%";
        handles[i].setAttribute("aria-valuenow", time.toFixed(2));
        handles[i].setAttribute("aria-valuetext", time.toFixed(2) + " seconds");
      });
    }

    function play() {
      audio.currentTime = props.value.start;
      audio.play();
      const check = () => {
        if (audio.currentTime >= props.value.stop) audio.pause();
        else if (!audio.paused) requestAnimationFrame(check);
      };
      audio.addEventListener("playing", check, { once: true });
    }

    show();
    return make("div", { class: "region" },
      make("div", { class: "times" }, make("label", {}, "From ", inputs[0], " s"), make("label", {}, "to ", inputs[1], " s"), hear), note);
  }

  // ---- blind listening tests ----

  async function answer(path, options) {
    const got = await fetch("studio/tests/" + path, options).catch(() => null);
    if (!got) return { state: "error", text: "the studio doesn't answer" };
    const text = await got.text();
    return got.ok ? JSON.parse(text) : { state: "error", text };
  }

  function trial(element, props, watch) {
    const root = element.querySelector(".trial");
    let current = null;

    async function start() {
      if (!props.value || props.value === current) return;
      current = props.value;
      show(await answer(current));
    }

    async function show(state) {
      if (state.state === "waiting") {
        root.replaceChildren(make("p", { role: "status" }, "the models make their clips: " + Math.min(99, Math.floor(100 * state.part)) + " %"));
        const name = current;
        setTimeout(async () => { if (name === current && element.isConnected) show(await answer(name)); }, 1500);
      } else if (state.state === "trial") ask(state);
      else if (state.state === "over") root.replaceChildren(...outcome(state), make("p", {}, make("a", { href: "studio/tests/" + current + "/votes.csv" }, "The votes as CSV")));
      else root.replaceChildren(make("p", { role: "alert" }, state.text));
    }

    function ask(state) {
      const names = state.kind === "pairs" ? ["Left", "Right"] : ["Clip"];
      const players = state.clips.map((clip, i) => {
        const audio = make("audio", { controls: true, preload: "auto", src: clip.url, "aria-label": names[i] });
        audio.volume = clip.volume;
        audio.addEventListener("play", () => pauseOthers(audio));
        audio.addEventListener("timeupdate", () => { if (audio.currentTime > 0) { unheard.delete(i); allow(); } });
        return make("div", { class: "cell" }, make("h3", {}, names[i]), audio);
      });
      const unheard = new Set(state.clips.keys()), note = make("p", { role: "status" });
      let sent = false;
      function allow() {
        buttons.forEach((button) => { button.disabled = sent || unheard.size > 0; });
        note.textContent = unheard.size ? "Play " + [...unheard].map((i) => names[i]).join(" and ") + " to vote." : "";
      }
      const choices = state.kind === "pairs"
        ? [["left", "Left is better"], ["none", "No difference"], ["right", "Right is better"]]
        : [["1", "1 bad"], ["2", "2 poor"], ["3", "3 fair"], ["4", "4 good"], ["5", "5 excellent"]];
      const buttons = choices.map(([value, text]) => make("button", { type: "button", onclick: async () => {
        sent = true;
        allow();
        show(await answer(current + "/" + state.number + "/" + value, { method: "POST" }));
      } }, text));
      root.replaceChildren(
        make("h2", { tabindex: -1 }, "Trial " + (state.number + 1) + " of " + state.of),
        make("div", { class: "clips" }, ...players),
        state.cut === null ? "" : make("p", {}, "Both end after " + length(state.cut) + ", where the shorter one does."),
        make("div", { class: "actions" }, ...buttons), note);
      allow();
      if (state.number) root.querySelector("h2").focus();
    }

    watch("value", start);
    start();
  }

  const percent = (share) => Math.round(100 * share) + " %";

  function outcome(state) {
    const [a, b] = state.result.sources;
    if (state.kind === "ratings") return [make("h2", {}, "Mean ratings, with intervals of 95 %"), ...[a, b].map((one) => make("p", {},
      one.name + ": " + (one.mean === null ? "none" : one.mean.toFixed(2)) + (one.low === null ? "" : " (" + one.low.toFixed(2) + " to " + one.high.toFixed(2) + ")") + ", of " + one.ratings))];
    const { ties, low, high, differs } = state.result;
    return [make("h2", {}, "The votes"),
      make("p", {}, a.name + ": " + a.wins + ", " + b.name + ": " + b.wins + ", no difference: " + ties),
      make("p", {}, "Of those who heard a difference, " + (a.wins + b.wins ? percent(a.wins / (a.wins + b.wins)) : "nobody") + " preferred " + a.name + "; the interval of 95 % is " + percent(low) + " to " + percent(high) + "."),
      make("p", {}, differs ? "So one of them is preferred." : "It contains 50 %: these votes show no preference.")];
  }

  // ---- the page of a run, and whether it has changed since ----

  function run(element, props, watch, none) {
    const root = element.querySelector(".run"), note = make("p", { class: "state", role: "status" });
    const follow = make("input", { type: "checkbox" });
    const reload = make("button", { type: "button", onclick: () => open() }, "Reload");
    const place = make("div", {});
    let reference = null, seen = null;
    root.append(make("div", { class: "actions" }, reload, make("label", {}, follow, " reload when it changes (stops what plays)")), note, place);
    const address = () => "studio/files/" + reference.split("/").map(encodeURIComponent).join("/") + "/index.html";

    async function open() {
      if (!reference) return;
      const found = await fetch(address(), { method: "HEAD" }).catch(() => null);
      if (!found || !found.ok) {
        place.replaceChildren();
        note.textContent = "no page yet: it is written at the first validation, or by `page`";
        return;
      }
      seen = found.headers.get("last-modified");
      note.textContent = "written " + new Date(seen).toLocaleString();
      place.replaceChildren(make("iframe", { src: address(), title: "Listening page of " + reference, sandbox: "allow-scripts" }));
    }

    async function check() {
      if (reference && !document.hidden && element.offsetParent) {
        const found = await fetch(address(), { method: "HEAD" }).catch(() => null);
        const now = found && found.ok ? found.headers.get("last-modified") : null;
        if (now && now !== seen) {
          if (follow.checked || seen === null) await open();
          else note.textContent = "changed " + new Date(now).toLocaleTimeString() + ": Reload shows it";
        }
      }
      if (element.isConnected) setTimeout(check, 5000);
    }

    const update = () => {
      if (props.value === reference && reference) return;
      [reference, seen] = [props.value, null];
      if (reference) { open(); return; }
      place.replaceChildren();
      note.textContent = none;
    };
    watch("value", update);
    update();
    setTimeout(check, 5000);
  }

  // ---- numbers beyond a slider's ends, which gradio changes without a word ----

  document.addEventListener("blur", ({ target }) => {
    if (!target.matches?.("input[data-testid=number-input]") || !target.max) return;
    const block = target.closest(".block"), given = Number(target.value);
    block.querySelector(".beyond")?.remove();
    const wrong = given > Number(target.max) ? target.max + " is the most that is possible here" : given < Number(target.min) ? target.min + " is the least that is possible here" : null;
    if (wrong) block.append(make("p", { class: "beyond", role: "status" }, wrong + ", not " + given));
  }, true);

  return { jobs, options, partial, run, sections, source, trial };
})();
