"""Labels on the studio's page and in its HTTP API, in a real browser, by keyboard."""

import hashlib
import json
import urllib.error
import urllib.request

import pytest
from browsers import serve, visit
from small_generators import write_small
from test_page import open_section, pick, read_grid, wait_for_change


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    project = tmp_path_factory.mktemp("labels") / "project"
    (project / "pretrained").mkdir(parents=True)
    for name in ("resnet+labels", "stylegan2"):
        write_small(project / "pretrained" / f"{name.replace('+', '-')}.safetensors", name)
    with serve(project) as (address, _):
        yield address


def choose(page, value):
    """Chooses a label by keyboard."""
    box = page.get_by_role("listbox", name="Labels").or_(page.get_by_label("Labels"))
    box.last.focus()
    page.keyboard.type(value)
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
def test_the_wall_shows_faces_with_the_chosen_labels(browser, address, width, height):
    with visit(browser, address, "/?generator=resnet-labels&faces=12", width=width, height=height) as visitor:
        page = visitor.page
        before = read_grid(page)
        choose(page, "hair=grey")
        after = wait_for_change(page, before)
        assert after[0] == [f"{face}+hair=grey" for face in before[0]]
        page.locator('#saving a[href*="hair"]', has_text="Link to this wall").wait_for()
        link = page.locator("#saving a", has_text="Link to this wall").get_attribute("href")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    with visit(browser, address, f"/{link}", width=width, height=height) as other:
        assert read_grid(other.page) == after


def test_directions_show_the_same_face_with_each_label(browser, address):
    with visit(browser, address, "/?generator=resnet-labels&faces=12") as visitor:
        page = visitor.page
        pick(page, 3)
        open_section(page, "Directions")
        faces, _ = read_grid(page, "#relabelled")
        assert len(faces) == 5 and len({face.split("+")[0] for face in faces}) == 1
        page.locator("#relabelled .faces button").nth(4).click()
        page.wait_for_function("document.querySelectorAll('#tray .faces button').length === 2")
        assert read_grid(page, "#tray")[0][1] == faces[4]


def test_an_unlabelled_generator_has_no_labels_to_choose(browser, address):
    with visit(browser, address, "/?generator=stylegan2&faces=4") as visitor:
        read_grid(visitor.page)
        assert visitor.page.get_by_label("Labels").count() == 0


def test_the_api_takes_labels(address):
    def fetch(query):
        with urllib.request.urlopen(f"{address}/api/wall.png?generator=resnet-labels&count=4&{query}") as answer:
            return hashlib.sha256(answer.read()).hexdigest()

    assert len({fetch("seed=1"), fetch("seed=1&label=hair=grey"), fetch("seed=1&label=hair=grey&label=glasses=yes")}) == 3
    for wrong, message in (("label=hare=grey", "did you mean hair"), ("label=hair=blue", "black, brown, grey"), ("label=hair", "expected")):
        with pytest.raises(urllib.error.HTTPError) as error:
            fetch(wrong)
        assert error.value.code == 422 and message in json.loads(error.value.read())["error"]


def test_without_labelled_images_the_search_for_their_directions_says_what_is_missing(browser, address):
    with visit(browser, address, "/?generator=stylegan2&faces=12#directions") as visitor:
        page = visitor.page
        page.get_by_role("button", name="Find directions of labels").click()
        page.locator("#section-directions .message", has_text="data/shards").first.wait_for()
