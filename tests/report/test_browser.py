"""The page in a browser: it draws, it answers, it asks nobody, and nothing it is told can run."""

import json
import shutil

import pytest
from made import HOSTILE, layers, nothing, real
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from modelstitch.report import write_page
from modelstitch.report.gallery import Gallery

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync")
FLAGS += ("--disable-background-networking", "--disable-component-update")
INSTALL = "the page is tested in a browser, and there is none: apt-get install -y chromium chromium-driver"
# Fails in the page's own context, as an attack would: the policy must stop it, not the escaping.
INJECT = """
const script = document.createElement("script");
script.textContent = "window.ran = 'script'";
document.body.append(script);
document.body.insertAdjacentHTML("beforeend", "<img src=x onerror=\\"window.ran = 'handler'\\">");
setTimeout("window.ran = 'text'");
return new Promise((done) => setTimeout(() => done(window.ran ?? "nothing"), 200));
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (browser and driver):
        pytest.fail(INSTALL)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=Service(driver))
    yield found
    found.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Pages by name, each written once."""
    folder = tmp_path_factory.mktemp("pages")
    made = {"layers": layers(), "real": real(), "nothing": nothing(), "hostile": layers(HOSTILE[:2], name=HOSTILE[2])}
    for name, findings in made.items():
        write_page(findings, folder / f"{name}.html")
    return {name: (folder / f"{name}.html").as_uri() for name in made}


@pytest.fixture
def show(browser, pages):
    def shown(name, width=1280, scheme="light"):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        colours(browser, scheme)
        for log in ("browser", "performance"):
            browser.get_log(log)
        browser.get(pages[name])
        drawn = "return document.documentElement.dataset.drawn === 'true'"
        WebDriverWait(browser, 20).until(lambda page: page.execute_script(drawn))
        return browser

    return shown


def colours(page, scheme, media="screen"):
    wanted = [{"name": "prefers-color-scheme", "value": scheme}]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": wanted})


def marks(page, chart):
    """The outlines of a chart's points, cells and lines, in order."""
    script = "return [...document.querySelectorAll(arguments[0])].map((mark) => mark.outerHTML)"
    return page.execute_script(script, f"#chart-{chart} .mark-symbol path, #chart-{chart} .mark-rect path")


def point_of(page, chart, index):
    found = page.find_elements(By.CSS_SELECTOR, f"#chart-{chart} .role-mark.mark-symbol path")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", found[index])
    return found[index]


def text_of(page, name):
    return page.find_element(By.ID, name).text


def requests_of(page):
    sent = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    return [one["params"]["request"]["url"] for one in sent if one["method"] == "Network.requestWillBeSent"]


@pytest.mark.parametrize("name", ["layers", "real", "nothing", "hostile"])
def test_it_asks_nobody_and_has_no_word_of_complaint(show, pages, name):
    page = show(name)
    assert [entry["message"] for entry in page.get_log("browser")] == []
    assert [url for url in requests_of(page) if not url.startswith("data:")] == [pages[name]]


def test_a_request_and_a_complaint_would_be_seen(show):
    page = show("nothing")
    page.execute_script("fetch('http://127.0.0.1:9/').catch(() => {}); console.error('oh')")
    told = " ".join(entry["message"] for entry in page.get_log("browser"))
    assert "oh" in told
    # The policy stops it before it is sent.
    assert "Content Security Policy" in told


@pytest.mark.parametrize(("name", "findings"), [("layers", layers), ("real", real), ("nothing", nothing)])
def test_every_chart_is_drawn(show, name, findings):
    page = show(name)
    charts = [chart.get_attribute("data-chart") for chart in page.find_elements(By.CSS_SELECTOR, "[data-chart]")]
    assert set(charts) == set(Gallery(findings()).screen())
    for chart in charts:
        assert len(marks(page, chart)) >= 3, chart
        assert page.find_element(By.CSS_SELECTOR, f"#chart-{chart} svg").size["width"] > 300


def test_zero_and_the_published_curve_are_drawn(show):
    page = show("real")
    rules = page.find_elements(By.CSS_SELECTOR, "#chart-penalty .mark-rule line[stroke-dasharray]")
    assert len(rules) == 1
    assert "paper: ResNet-18 (CIFAR-10)" in text_of(page, "chart-penalty")


def test_another_measure_moves_the_points(show):
    page = show("layers")
    before = marks(page, "scatter")
    assert "linear CKA" in page.find_element(By.CSS_SELECTOR, "output[data-shows=measure]").text
    Select(page.find_element(By.ID, "measure")).select_by_value("procrustes")
    WebDriverWait(page, 5).until(lambda page: marks(page, "scatter") != before)
    assert "Procrustes" in page.find_element(By.CSS_SELECTOR, "output[data-shows=measure]").text
    assert len(marks(page, "scatter")) == len(before)


def test_a_click_on_a_point_shows_its_record(show):
    page = show("layers")
    assert page.find_elements(By.CSS_SELECTOR, "#record dd") == []
    ActionChains(page).move_to_element(point_of(page, "penalty", 0)).click().perform()
    WebDriverWait(page, 5).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#record dd"))
    assert "A@stem -> B@stem" in text_of(page, "picked-line")
    record = text_of(page, "record")
    for told in ("A@stem -> B@stem", "+0.70 [+0.20, +1.20]", "Affine", "torch 2.13.0", "1,500"):
        assert told in record
    picked = page.find_element(By.ID, "picked").get_attribute("value")
    assert page.find_element(By.CSS_SELECTOR, "tr.shown").get_attribute("data-key") == picked


def test_pointing_tells_what_a_point_is(show):
    page = show("layers")
    ActionChains(page).move_to_element(point_of(page, "scatter", 3)).perform()
    tip = page.find_element(By.ID, "vg-tooltip-element")
    WebDriverWait(page, 5).until(lambda page: "visible" in tip.get_attribute("class"))
    assert "penalty, points" in tip.text


def test_a_stitching_can_be_picked_by_name(show):
    page = show("layers")
    Select(page.find_element(By.ID, "pair")).select_by_value("B → A")
    names = Select(page.find_element(By.ID, "picked"))
    assert not any("A → B" in option.text for option in names.options)
    names.select_by_visible_text("layer1 → layer3 · Orthogonal()")
    assert "B@layer1 -> A@layer3" in text_of(page, "record")


def test_a_pair_picked_stands_out_and_its_map_is_shown(show):
    page = show("layers")
    before = {chart: marks(page, chart) for chart in ("penalty", "penalty_map", "learning")}
    symbols = page.find_elements(By.CSS_SELECTOR, "#chart-penalty .role-legend-symbol path")
    page.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", symbols[1])
    ActionChains(page).move_to_element(symbols[1]).click().perform()
    pair = page.find_element(By.ID, "pair")
    WebDriverWait(page, 5).until(lambda page: pair.get_attribute("value") == "B → A")
    WebDriverWait(page, 5).until(lambda page: all(marks(page, name) != held for name, held in before.items()))
    assert page.find_element(By.CSS_SELECTOR, "output[data-shows=pair]").text == "B → A"


def test_a_setting_picked_is_alone_on_the_page(show):
    page = show("layers")
    count = len(page.find_elements(By.CSS_SELECTOR, "#chart-scatter .role-mark.mark-symbol path"))
    Select(page.find_element(By.ID, "setting")).select_by_value("Affine(kernel=1)")
    selector = "#chart-scatter .role-mark.mark-symbol path"
    WebDriverWait(page, 5).until(lambda page: len(page.find_elements(By.CSS_SELECTOR, selector)) == count // 2)


def test_records_are_sorted_by_number(show):
    page = show("layers")
    page.execute_script("for (const one of document.querySelectorAll('details')) one.open = true")
    button = page.find_element(By.XPATH, "//button[text()='penalty [95 %]']")
    for direction in (1, -1):
        page.execute_script("arguments[0].click()", button)
        cells = page.find_elements(By.CSS_SELECTOR, ".sortable tbody td:nth-child(3)")
        numbers = [float(cell.text.split()[0]) for cell in cells if cell.text != "failed"]
        assert numbers == sorted(numbers, reverse=direction < 0)
        assert cells[-1].text == "failed"


STYLE = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]"


def test_both_schemes_and_print_are_followed_without_loading_again(show):
    page = show("layers", scheme="dark")
    label, ground = ("#chart-penalty .role-axis-label text", "fill"), ("body", "backgroundColor")
    dark = [page.execute_script(STYLE, *what) for what in (label, ground)]
    assert dark == ["rgb(236, 236, 236)", "rgb(22, 22, 22)"]
    light = ["rgb(27, 27, 27)", "rgb(255, 255, 255)"]
    colours(page, "light")
    assert [page.execute_script(STYLE, *what) for what in (label, ground)] == light
    colours(page, "dark", media="print")
    assert [page.execute_script(STYLE, *what) for what in (label, ground)] == light


def test_print_hides_nothing(show):
    page = show("layers")
    page.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert page.find_elements(By.CSS_SELECTOR, "details:not([open])") == []
    page.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert page.find_elements(By.CSS_SELECTOR, "details:not([open])") != []


# The texts of a chart that reach over its edge, where they would be cut off.
OUTSIDE = """
const edge = arguments[0].getBoundingClientRect();
const reaches = (text) => text.right > edge.right + 1 || text.left < edge.left - 1;
return [...arguments[0].querySelectorAll("text")].filter((text) => reaches(text.getBoundingClientRect()))
  .map((text) => text.textContent);
"""


@pytest.mark.parametrize("name", ["layers", "hostile"])
def test_a_narrow_screen_is_not_overflown(show, name):
    page = show(name, width=390)
    for opened in (False, True):
        script = "for (const one of document.querySelectorAll('details')) one.open = arguments[0]"
        page.execute_script(script, opened)
        assert page.execute_script("return document.documentElement.scrollWidth") <= 390
    for chart in page.find_elements(By.CSS_SELECTOR, ".chart"):
        assert page.execute_script(OUTSIDE, chart) == [], chart.get_attribute("id")


def test_every_control_is_reached_by_keyboard(show):
    page = show("layers")
    script = (
        "return [...document.querySelectorAll('select, summary, button, .scroll')].filter((one) => one.tabIndex < 0)"
    )
    assert page.execute_script(script) == []


def test_hostile_names_are_read_and_never_run(show):
    page = show("hostile")
    assert page.find_element(By.TAG_NAME, "h1").text == HOSTILE[2]
    ActionChains(page).move_to_element(point_of(page, "penalty", 0)).click().perform()
    WebDriverWait(page, 5).until(lambda page: HOSTILE[0] in text_of(page, "record"))
    assert page.find_elements(By.CSS_SELECTOR, "img, [onerror], #record b, h1 b") == []
    # An alert would make every call fail from here on.
    assert page.execute_script("return document.scripts.length") == 3


def test_the_policy_stops_what_escaping_would_miss(show):
    assert show("layers").execute_script(INJECT) == "nothing"
