"""A browser without a window for tests of pages, with real mouse events."""

import contextlib
import json
import shutil
import time

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# WebGL without a graphics processor.
FLAGS = ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--use-angle=swiftshader", "--mute-audio")
WIDTH, HEIGHT = 1000, 700


class Browser:
    """Chromium, driven by Selenium."""

    def __init__(self, driver):
        self.driver = driver
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def open(self, path):
        self.driver.get_log("browser"), self.driver.get_log("performance")
        self.driver.get(path.as_uri())
        self.wait("return document.documentElement.dataset.ready")

    def run(self, script, *values):
        return self.driver.execute_script(script, *values)

    def wait(self, script, *values, seconds=20.0):
        """Run a script again and again until it returns what is true; return that."""
        end = time.monotonic() + seconds
        while not (found := self.run(script, *values)):
            assert time.monotonic() < end, f"in vain: {script} {values}"
            time.sleep(0.02)
        return found

    def mouse(self, kind, place, **options):
        x, y = place
        self.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": kind, "x": x, "y": y, **options})

    def point(self, place):
        self.mouse("mouseMoved", place)

    def click(self, place):
        self.point(place)
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, place, button="left", clickCount=1)

    def drag(self, place, by):
        to = place[0] + by[0], place[1] + by[1]
        self.point(place)
        self.mouse("mousePressed", place, button="left", buttons=1, clickCount=1)
        self.mouse("mouseMoved", to, button="left", buttons=1)
        self.mouse("mouseReleased", to, button="left", clickCount=1)

    def key(self, name):
        for kind in ("keyDown", "keyUp"):
            self.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": kind, "key": name, "code": name})

    def errors(self):
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def requests(self):
        """Addresses that were asked for since the page was opened."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@contextlib.contextmanager
def a_browser():
    """Start a browser; skip where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip(f"no {'browser' if program is None else 'chromedriver'} is installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield Browser(started)
    finally:
        started.quit()
