"""The page in a real browser, from a file and without a network; skipped where there is none."""

import random
import shutil
from itertools import pairwise

import pytest
from msgspec.structs import replace

from driftboard.leaderboard.analysis.board import build_board
from driftboard.leaderboard.analysis.collect import collect
from driftboard.leaderboard.render.figures.drawing import Illustration
from driftboard.leaderboard.render.page import html_page
from driftboard.suite.distance.distance import Estimate
from driftboard.suite.distance.grades import Grade
from driftboard.suite.records import write_record
from driftboard.suite.submissions import make_credits

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

LONG = "a-strategy-with-a-name-that-is-as-long-as-names-may-ever-be-here"
STRATEGIES = ("sgd", "ewc", "hybrid", LONG)
TEXTS = "h1, h2, h3, p, a, td, th, li, dt, dd, small, label, button, select, caption, figcaption"
CREDITS = make_credits(
    title="A title of as many words as people like to give to what they have made, and more",
    authors=("Ada Lovelace", "Somebody With A Rather Long Name From Somewhere"),
    links=("https://example.org/" + "a-long-path-without-a-break/" * 5,),
    licence="Apache-2.0 OR MIT",
    description="It keeps what it has learned, or so they say: " + "x" * 100,
    remarks=(),
)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="700" height="300"><rect width="9"/></svg>'

CONTRAST = """
(texts) => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = (rgb) => {
    const [r, g, b] = rgb.map((c) => {
      const s = c / 255;
      return s <= 0.04045 ? s / 12.92 : ((s + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour.slice(0, 3);
    }
    return [255, 255, 255];
  };
  const ratios = [];
  for (const one of document.querySelectorAll(texts)) {
    if (!one.offsetParent || !one.textContent.trim()) continue;
    const ink = light(parse(getComputedStyle(one).color));
    const [a, b] = [ink, light(ground(one))].sort((x, y) => y - x);
    ratios.push((a + 0.05) / (b + 0.05));
  }
  return [ratios.length, Math.min(...ratios)];
}
"""


@pytest.fixture(scope="module")
def address(make_record, tmp_path_factory):
    """A page of four sequences, three of them graded, in a file."""
    folder = tmp_path_factory.mktemp("page")
    generator = random.Random(4)
    for place, name in enumerate(("alpha", "beta", "gamma", "delta")):
        for skill, strategy in enumerate(STRATEGIES):
            for seed in range(5):
                counts = [[generator.randint(5, 50) + 15 * skill for _ in "123"] for _ in "123"]
                record = make_record(name, strategy, seed, counts)
                if (name, strategy, seed) == ("alpha", LONG, 2):
                    lost = {"status": "diverged", "diverged_at": 0, "diverged_by": "blow-up"}
                    record = replace(record, correct=((10,) * 3,) * 3, **lost)
                tier = "small" if place < 2 else "large"
                stamp = replace(record.sequence, tier=tier, hash=f"{place}" * 64)
                write_record(folder / "results", replace(record, sequence=stamp))
    grades = {}
    for place, level in enumerate(("near", "medium", "far")):
        distance = Estimate(place, place - 0.1, place + 0.1, 5)
        grades[f"{place}" * 64] = Grade("x", f"{place}" * 64, distance, 0.9, level, False, "")
    return written(folder, grades, Illustration("plane", "A plane", "what it shows", SVG, b""))


@pytest.fixture(scope="module")
def loss_address(make_loss_record, tmp_path_factory):
    """A page of one sequence of excess losses, from 0 to 30, in a file."""
    folder = tmp_path_factory.mktemp("losses")
    losses = {"sgd": ((0.5, 2.0), (30.0, 0.25)), "ewc": ((0.0, 0.0123456), (1.5e-9, 2.5))}
    for strategy, own in losses.items():
        for seed in range(3):
            write_record(folder / "results", make_loss_record("alpha", strategy, seed, own))
    return written(folder, {})


def written(folder, grades, *drawings):
    """Write the page of the records below ``folder``, and return its address."""
    authors = {LONG: CREDITS} if drawings else {}
    board = build_board(collect([folder / "results"]), "sgd", grades, authors=authors)
    (folder / "index.html").write_text(html_page(board, "x", drawings), encoding="utf-8")
    return (folder / "index.html").as_uri()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def opened(browser, address):
    """Return a function that opens the page; afterwards nothing may have gone wrong."""
    contexts, troubles, requests, asked = [], [], [], set()

    def open_page(width=1280, scheme="light", fragment="", where=address):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: troubles.append(message.text))
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        asked.add(where)
        page.goto(where + fragment)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert troubles == []
    assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} == asked


def column(page, place):
    """Return the texts of one column of the overall table's ranked rows."""
    ranked = page.locator("[aria-labelledby=table-overall].sortable tbody").first
    rows = ranked.locator("tr:not(.group)")
    return [row.locator("th, td").nth(place).inner_text().split("\n")[0] for row in rows.all()]


def head(page, title):
    table = page.locator("table[aria-labelledby=table-overall]")
    return table.locator("thead th").filter(has=page.get_by_role("button", name=title, exact=True))


def test_it_opens_from_a_file_without_a_network(opened):
    page = opened()
    assert page.title() == "Driftboard leaderboard"
    assert page.locator("table").count() >= 8


def test_sorting_by_click_follows_the_raw_numbers(opened):
    page = opened()
    for title, place, large_first in (("Avg.Acc", 3, True), ("Forgetting", 5, False)):
        button = page.locator("table[aria-labelledby=table-overall]").get_by_role(
            "button", name=title, exact=True
        )
        button.click()
        values = [float(text) for text in column(page, place)]
        assert values == sorted(values, reverse=large_first)
        assert head(page, title).get_attribute("aria-sort") == (
            "descending" if large_first else "ascending"
        )
        button.click()
        assert [float(text) for text in column(page, place)] == sorted(
            values, reverse=not large_first
        )
    assert page.locator("table[aria-labelledby=table-overall] [aria-sort]").count() == 1


def test_sorting_by_keyboard(opened):
    page = opened()
    button = page.locator("table[aria-labelledby=table-overall]").get_by_role(
        "button", name="Strategy", exact=True
    )
    button.focus()
    page.keyboard.press("Enter")
    assert column(page, 2) == sorted(STRATEGIES)
    page.keyboard.press("Space")
    assert column(page, 2) == sorted(STRATEGIES, reverse=True)


def shown(page):
    found = page.locator("#filtered > section:visible h3").all()
    return {one.get_attribute("id").removeprefix("table-") for one in found}


def test_filters_show_just_the_right_tables(opened):
    page = opened()
    everything = shown(page)
    assert {"suite:small", "grade:near", "alpha", "delta"} <= everything
    page.get_by_label("Suite", exact=True).select_option("small")
    assert shown(page) == {"suite:small", "grade:near", "grade:medium", "alpha", "beta"}
    assert page.locator("#filter-count").inner_text() == f"5 of {len(everything)} tables shown"
    page.get_by_label("Grade", exact=True).select_option("near")
    assert shown(page) == {"grade:near", "alpha"}
    page.get_by_role("button", name="Show all").click()
    assert shown(page) == everything
    page.get_by_label("Sequence contains").fill("LTA")
    assert shown(page) == {"delta", "grade:ungraded"}
    assert page.locator("#filter-count").get_attribute("role") == "status"


def heads_shown(page):
    heads = page.locator("table[aria-labelledby=table-overall] thead th").all()
    return [one.inner_text() for one in heads if one.is_visible()]


def test_columns_that_matter_come_first_and_all_on_demand(opened):
    page = opened()
    first = heads_shown(page)
    metrics = ["Avg.Acc", "Δ Avg.Acc", "Forgetting", "Task.Acc"]
    assert first == ["Ranks", "Strategy", *metrics, "Drift", "Memory", "Stores", "Compute"]
    page.get_by_label("All columns").check()
    everything = heads_shown(page)
    assert len(everything) == page.locator("table[aria-labelledby=table-overall] thead th").count()
    assert {"#", "p", "Seeds", "Diverged", *first} < set(everything)
    page.get_by_label("All columns").uncheck()
    assert heads_shown(page) == first


def test_a_part_of_a_name_chooses_rows(opened):
    page = opened()
    rows = page.locator("table[aria-labelledby=table-overall] tbody [scope=row]:visible")
    assert rows.count() == len(STRATEGIES)
    page.get_by_label("Strategy contains").fill(" HYB")
    assert rows.all_inner_texts() == ["hybrid"]
    page.get_by_label("Strategy contains").fill("")
    assert rows.count() == len(STRATEGIES)


def test_bars_are_as_long_as_the_accuracy(opened):
    page = opened()
    cells = page.locator("table[aria-labelledby=table-overall] td.bar").all()
    assert len(cells) == len(STRATEGIES)
    for cell in cells:
        percent = float(cell.evaluate("e => e.style.backgroundSize").partition("%")[0])
        assert percent == pytest.approx(float(cell.inner_text().split()[0]), abs=0.051)


def test_the_headline_is_above_the_table_and_on_a_phone_below(opened, make_record, tmp_path):
    write_record(tmp_path / "results", make_record())
    drawings = [Illustration(name, name, "words", SVG, b"") for name in ("plane", "drift")]
    board = build_board(collect([tmp_path / "results"]), "sgd", {})
    (tmp_path / "index.html").write_text(html_page(board, "x", drawings), encoding="utf-8")
    where = (tmp_path / "index.html").as_uri()
    for width, above in ((1280, True), (375, False)):
        page = opened(width=width, where=where)
        headline = page.locator("main > figure")
        assert headline.locator("figcaption").inner_text() == "drift"
        table = page.locator("section:has(> #table-overall)")
        assert (headline.bounding_box()["y"] < table.bounding_box()["y"]) == above
        assert page.locator("section:has(> #figures) figcaption").all_inner_texts() == ["plane"]


def test_on_a_phone_the_first_screen_has_names_and_accuracies(opened):
    page = opened(width=375)
    row = page.locator("table[aria-labelledby=table-overall] tbody tr:not(.group)").first
    name, accuracy = row.locator("[scope=row]"), row.locator("td.bar")
    for box in (name.bounding_box(), accuracy.bounding_box()):
        assert box["y"] + box["height"] <= 800
        assert box["x"] + box["width"] <= 375


def test_the_view_of_a_strategy_shows_its_matrices(opened):
    page = opened(fragment="#strategy=ewc")
    assert page.get_by_label("Strategy", exact=True).input_value() == "ewc"
    matrices = page.evaluate("JSON.parse(document.getElementById('data').textContent).matrices")
    cards = page.locator("#strategy-view article").all()
    assert [card.locator("h3").inner_text() for card in cards] == list(matrices)
    for card, own in zip(cards, matrices.values(), strict=True):
        rows = card.locator("table tbody tr").all()
        for t, row in enumerate(rows):
            texts = row.locator("td").all_inner_texts()
            values = own["ewc"][t]
            assert [float(text) for text in texts[:3]] == pytest.approx(
                [100 * value for value in values], abs=0.051
            )
            seen = 100 * sum(values[: t + 1]) / (t + 1)
            assert float(texts[3]) == pytest.approx(seen, abs=0.051)
    page.get_by_label("Strategy", exact=True).select_option("sgd")
    assert page.url.endswith("#strategy=sgd")
    page.locator("table[aria-labelledby=table-overall]").get_by_role("link", name="hybrid").click()
    assert "hybrid on 4 of 4 sequences" in page.locator("#strategy-about").inner_text()


def test_the_address_brings_its_strategy_into_sight(opened):
    page = opened(width=375, fragment="#strategy=ewc")
    heading = page.locator("#strategy")
    assert heading.evaluate("e => e === document.activeElement")
    assert 0 <= heading.evaluate("e => e.getBoundingClientRect().top") < 200


def test_no_strategy_is_shown_at_first(opened):
    page = opened()
    assert page.locator("#strategy-about").inner_text() == ""
    assert page.locator("#strategy-view article").count() == 0


def test_what_diverged_is_said_and_not_averaged(opened):
    page = opened(fragment=f"#strategy={LONG}")
    notes = page.locator("section:has(> #table-overall) .notes li").all_inner_texts()
    assert notes[0].startswith(f"{LONG}: 1 of 20 runs diverged and count with the accuracy of")
    about = page.locator("#strategy-view article .about").all_inner_texts()
    assert about[0] == "suite small, grade near, 4 of 5 seeds, the others diverged"
    assert about[1] == "suite small, grade medium"


def test_a_submission_says_who_made_it(opened):
    page = opened(width=375)
    section = page.locator("section[aria-labelledby=submissions]")
    for text in (CREDITS.title, CREDITS.authors[0], CREDITS.licence, CREDITS.description):
        assert text in section.inner_text()
    (link,) = section.locator("a").all()
    assert link.get_attribute("href") == CREDITS.links[0]
    assert link.get_attribute("rel") == "nofollow noopener noreferrer"


def test_small_losses_are_told_by_powers_of_ten(opened, loss_address):
    page = opened(fragment="#strategy=ewc", where=loss_address)
    rows = page.locator("#strategy-view table tbody tr").all()
    texts = [row.locator("td").all_inner_texts() for row in rows]
    assert texts == [["0", "0.0123", "0"], ["1.50e-9", "2.50", "1.25"]]
    ticks = page.locator(".key li").all_inner_texts()
    assert ticks == ["0.01", "0.1", "1", "10", "100"]


def test_heads_of_rows_stay_in_sight(opened):
    page = opened(width=320, fragment="#strategy=ewc")
    matrix = page.locator("#strategy-view .scroll").first
    heads = matrix.locator("tbody th")
    left = heads.first.bounding_box()["x"]
    moved = matrix.evaluate(
        "e => { e.style.width = '6rem'; e.scrollLeft = 40; return e.scrollLeft }"
    )
    assert moved == 40
    assert heads.first.bounding_box()["x"] == pytest.approx(left, abs=1.5)


@pytest.mark.parametrize("fragment", ["", "#strategy=ewc"])
def test_print_leaves_out_a_view_of_no_strategy(opened, fragment):
    page = opened(fragment=fragment)
    page.emulate_media(media="print")
    assert page.locator("#strategy").is_visible() == bool(fragment)
    assert page.locator("#table-overall").is_visible()
    assert page.locator(".controls:visible").count() == 0


def test_an_unknown_strategy_is_said_to_be_unknown(opened):
    page = opened(fragment="#strategy=%3Cb%3Enope")
    assert page.locator("#strategy-about").inner_text() == 'There is no strategy "<b>nope".'
    assert page.locator("#strategy-about b").count() == 0


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_overflows(opened, width):
    page = opened(width=width, fragment=f"#strategy={LONG}")
    page.locator("details summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = page.evaluate(
        """(width) => [...document.querySelectorAll("body *")].filter((one) =>
          !one.closest(".scroll") && !one.matches(".skip, option") && one.offsetParent &&
          one.getBoundingClientRect().right > width + 0.5).map((one) => one.className)""",
        width,
    )
    assert wide == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(opened, scheme):
    page = opened(scheme=scheme, fragment="#strategy=ewc")
    page.locator("details summary").click()
    count, least = page.evaluate(CONTRAST, TEXTS)
    assert count > 300
    assert least >= 4.5


def test_headings_tables_and_images_can_be_read_out(opened):
    page = opened(fragment="#strategy=ewc")
    headings = page.locator("h1, h2, h3, h4").all()
    levels = [int(one.evaluate("e => e.tagName")[1]) for one in headings]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    unnamed = page.evaluate(
        """() => [...document.querySelectorAll("table")].filter((one) => {
          const label = document.getElementById(one.getAttribute("aria-labelledby"));
          return !(label?.textContent || one.caption?.textContent);
        }).length"""
    )
    assert unnamed == 0
    assert page.locator("img:not([alt]), img[alt='']").count() == 0
    assert page.locator("th:not([scope])").count() == 0
    identifiers = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    assert len(set(identifiers)) == len(identifiers)


def test_everything_is_reached_by_the_tab_key(opened):
    page = opened()
    reached = set()
    for _ in range(400):
        page.keyboard.press("Tab")
        where = page.evaluate(
            "(() => { const e = document.activeElement;"
            " return e.id || e.className || e.textContent; })()"
        )
        reached.add(where)
        if where == "filter-reset":
            break
    assert {"skip", "choose-strategy", "filter-tier", "filter-grade", "filter-sequence"} <= reached
    assert {"Avg.Acc", "filter-reset"} <= reached


def test_without_scripts_all_tables_are_there(browser, address):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(address)
    assert page.locator("#filtered > section:visible").count() == 10
    assert "needs a script" in page.locator("#strategy-about").inner_text()
    assert not page.get_by_label("Suite", exact=True).is_visible()
    context.close()
