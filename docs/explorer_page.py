"""Write the explorer's page of a network that was trained on MNIST, and the picture of it in the tutorial.

python docs/explorer_page.py   # the picture; needs selenium, chromium and chromedriver
"""

import io
import shutil
import sys
import tempfile
import time
import warnings
from pathlib import Path

import torch
from PIL import Image

import spatialgraph as sg
from spatialgraph import datasets

DOCS = Path(__file__).resolve().parent
NETWORK = DOCS / "networks" / "mnist.safetensors"
PICTURE = DOCS / "images" / "explorer.png"
WIDTH, HEIGHT = 1280, 800


def digits():
    """Return an image of each digit, shape ``(10, 784)``."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="load_mnist returns the bundled sample")
        data = datasets.load_mnist(download=False)
    firsts = [int((data.test_labels == digit).nonzero()[0]) for digit in range(10)]
    return data.test_images[firsts].flatten(1)


def write(folder):
    """Write the page into a folder, and return its path."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = sg.load(NETWORK).eval()
    with torch.no_grad():
        activations = model.activations(digits())
    return sg.explore(model, folder / "mnist.html", title="MNIST, 784-2048-10", activations=activations)


def screenshot(page):
    """Return a picture of a page with the pointer at an output."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    for flag in ("--headless=new", "--no-sandbox", "--use-angle=swiftshader"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())
    while not driver.execute_script("return document.documentElement.dataset.ready"):
        time.sleep(0.1)
    color = (
        "const box = document.getElementById('color'); box.value = 'module'; box.dispatchEvent(new Event('change'));"
    )
    driver.execute_script(color)
    x, y = driver.execute_script("return explorer.project(2837)")
    driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": x, "y": y})
    while not driver.execute_script("return document.querySelector('#hovered figcaption')?.textContent.includes('±')"):
        time.sleep(0.1)
    picture = driver.get_screenshot_as_png()
    driver.quit()
    return Image.open(io.BytesIO(picture)).convert("RGB")


def main():
    """Write the picture, in few colours so that it is small."""
    with tempfile.TemporaryDirectory() as folder:
        picture = screenshot(write(folder))
    picture.quantize(160, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(PICTURE, f"{PICTURE.stat().st_size / 1000:.0f} kB", file=sys.stderr)


if __name__ == "__main__":
    main()
