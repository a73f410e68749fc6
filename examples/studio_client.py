"""Make a clip through a studio's HTTP API, from this machine or another one.

music-diffusion studio                    # in another terminal, or python cli.py studio
python examples/studio_client.py http://127.0.0.1:7860 clip.wav
python examples/studio_client.py http://studio.local:7860 clip.wav NAME:PASSWORD

It needs gradio_client, which comes with gradio (pip install -r requirements-ui.txt).
"""

import base64
import sys
import time
import urllib.request

from gradio_client import Client  # pyright: ignore[reportMissingImports]

SETTINGS = {"model": "base", "seconds": 2.0, "seed": 1, "options": {"steps": 4}}


def main(address: str, out: str, user: str | None = None) -> None:
    headers = {}
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    client = Client(address, headers=headers, verbose=False)
    print("models:", ", ".join(client.predict(api_name="/models")))
    job = client.predict(SETTINGS, api_name="/make")
    while job["state"] in ("waiting", "running"):
        print(job["state"], f"{job['done']}/{job['total']}")
        time.sleep(1)
        job = client.predict(job["name"], api_name="/job")
    if job["state"] != "done":
        sys.exit(f"{job['state']}: {job['error']}")
    request = urllib.request.Request(f"{address}/{job['clips'][0]['url']}", headers=headers)
    with urllib.request.urlopen(request) as answer, open(out, "wb") as file:
        file.write(answer.read())
    print(f"{out}: {job['clips'][0]['seconds']} s, made in {job['took']} s")


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
