"""What the studio's page answers to slow generators, wrong input and the browser's buttons: always something, in one line, in place."""

import shutil

import pytest
from browsers import serve, visit
from projects import ROOT, draw_pictures
from small_generators import make_card, write_small
from test_page import open_section, pick, read_grid, wait_for_change, wait_for_picks

from facegan.models.generator_file import save_generator
from facegan.models.registry import build_generator
from facegan.parameters import read_parameters

pytestmark = pytest.mark.slow
BUSY = """() => {
  const seen = window.seen = [], start = performance.now();
  const look = () => {
    const busy = [...document.querySelectorAll('[data-testid="status-tracker"].minimal:not(.hide)')].some((part) => {
      const text = part.querySelector('.progress-text')?.getBoundingClientRect();
      return part.checkVisibility() && !(text && text.top >= part.getBoundingClientRect().bottom);  // it would be clipped
    });
    seen.push([performance.now() - start, busy, Number(document.querySelector('#wall .faces').dataset.drawn)]);
    if (seen.length < 2000) requestAnimationFrame(look);
  };
  look();
}"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    project = tmp_path_factory.mktemp("answers") / "project"
    (project / "pretrained").mkdir(parents=True)
    shutil.copy(ROOT / "pretrained" / "avatars.safetensors", project / "pretrained")
    parameters = read_parameters(ROOT / "presets" / "celeba64_stylegan2.yaml")  # a slow one: 0.15 s per face
    card = make_card(model=parameters.model, resolution=parameters.preprocess.resolution)
    save_generator(project / "pretrained" / "slow.safetensors", build_generator(parameters.model, card.resolution), card)
    write_small(project / "pretrained" / "lost.safetensors")
    (project / "pretrained" / "broken.safetensors").write_bytes(b"not a generator")
    return project


@pytest.fixture(scope="module")
def address(project):
    with serve(project) as (address, _):
        yield address


def read_message(page):
    """Waits for a message of the open section, and returns it; there is no pop-up, no traceback and no wording of a validator."""
    page.wait_for_function("[...document.querySelectorAll('.notice')].some((part) => part.checkVisibility())")
    (message,) = [part for part in page.locator(".notice").all() if part.is_visible()]
    assert page.locator(".toast-body").count() == 0
    found = message.inner_text()
    assert "\n" not in found and "Input should" not in found and "Traceback" not in found
    return found


def test_a_slow_wall_shows_progress_and_its_first_faces_and_can_be_stopped(browser, address):
    with visit(browser, address, "/?generator=slow&faces=4") as visitor:
        page = visitor.page
        read_grid(page)
        page.evaluate(BUSY)
        page.get_by_role("slider", name="Faces").press("End")
        page.wait_for_function("seen.some(([, , drawn]) => drawn > 4)")
        assert page.evaluate("seen.findIndex(([, busy]) => busy) < seen.findIndex(([, , drawn]) => drawn > 4)")  # a sign before the faces
        page.get_by_role("button", name="Stop").first.click()
        page.wait_for_function("seen.slice(-30).every(([, busy]) => !busy)")
        assert 4 < page.evaluate("seen.at(-1)[2]") < 256
        page.get_by_label("Seed").first.fill("6")
        page.wait_for_function("document.querySelector('#wall .faces button')?.dataset.face === '6-0-1'")
        page.get_by_label("Seed").first.fill("7")  # does not wait for the faces of seed 6
        page.wait_for_function("document.querySelector('#wall .faces button')?.dataset.face === '7-0-1'")
        assert page.evaluate("Math.max(...seen.slice(-200).map(([, , drawn]) => drawn))") < 256


def test_wrong_input_is_answered_in_one_line(browser, address, project, tmp_path):
    with visit(browser, address, "/?generator=avatars&seed=5&faces=6") as visitor:
        page = visitor.page
        wall = read_grid(page)
        seed = page.get_by_label("Seed").first
        for value in ("1.5", "-3", "99999999999", ""):
            seed.fill(value)
            page.wait_for_timeout(700)
            assert "whole number" in read_message(page), value
            assert read_grid(page) == wall  # never an empty page
        seed.fill("5")
        page.wait_for_function("![...document.querySelectorAll('.notice')].some((part) => part.checkVisibility())")
        pick(page, 1, 2)
        open_section(page, "Between")
        read_grid(page, "#blend")
        for number in (1, 2):
            page.get_by_role("slider", name=f"Face {number}").press("Home")
        assert "weight above 0" in read_message(page)
        open_section(page, "Find me")
        (tmp_path / "no.png").write_bytes(b"no picture")
        page.locator("#section-find input[type=file]").set_input_files(tmp_path / "no.png")
        assert "photo" in read_message(page)
        open_section(page, "Wall")
        for name in ("broken", "lost"):
            (project / "pretrained" / "lost.safetensors").unlink(missing_ok=True)
            page.get_by_label("Generator").click()
            page.get_by_role("option", name=name).click()
            page.wait_for_timeout(1000)
            page.wait_for_function("[...document.querySelectorAll('.notice')].some((part) => part.checkVisibility())")
            assert page.locator(".toast-body").count() == 0
            assert page.locator("#wall .faces button").count() == 6


def test_an_outdated_link_shows_the_wall_and_says_what_is_wrong(browser, address):
    with visit(browser, address, "/?generator=deleted&seed=text&picked=1-999-1") as visitor:
        page = visitor.page
        assert len(read_grid(page)[0]) == 64
        line = page.locator("#picks .line").inner_text()
        assert "does not exist" in line and "whole number" in line and "cannot be drawn" in line
        assert page.locator(".toast-body").count() == 0


def test_the_address_names_the_section(browser, address):
    with visit(browser, address, "/?generator=avatars&seed=5&faces=6") as visitor:
        page = visitor.page
        pick(page, 1, 2)
        for section in ("Between", "Directions"):
            open_section(page, section)
            page.wait_for_function("name => location.hash === `#${name}`", arg=section.lower())
        page.go_back()
        page.locator("#section-between").wait_for()
        read_grid(page, "#blend")
        page.go_back()
        page.locator("#section-wall").wait_for()
        again = visitor.context.new_page()
        again.goto(f"{address}/?generator=avatars&seed=5&faces=6#directions")
        again.locator("#section-directions").wait_for()
        read_grid(again, "#moved")
        assert again.url.endswith("#directions")
        # one Tab stop for the sections; what saves the wall comes before its faces; headings without a gap
        assert again.evaluate("[...document.querySelectorAll('#sections [role=tab]')].filter((tab) => tab.tabIndex === 0).length") == 1
        order = again.evaluate("[...document.querySelectorAll('#saving a, #wall .faces button')].map((part) => part.tagName)")
        assert order == sorted(order) and order[0] == "A" and order[-1] == "BUTTON"
        assert again.evaluate("[...new Set([...document.querySelectorAll('h1, h2, h3, h4')].map((part) => part.tagName))].sort()") == [
            "H1",
            "H2",
        ]


def test_a_face_is_enlarged(browser, address):
    with visit(browser, address, "/?generator=avatars&seed=5&faces=6", width=390, height=844) as visitor:
        page = visitor.page
        read_grid(page)
        page.locator("#wall .faces button").nth(2).dblclick()
        dialog = page.get_by_role("dialog")
        assert "face 2 of seed 5" in dialog.inner_text() and dialog.bounding_box()["width"] <= 390
        page.keyboard.press("ArrowRight")
        dialog.get_by_role("button", name="Smooth").click()
        dialog.get_by_role("button", name="Pick this face").click()
        wait_for_picks(page, 1)
        with page.expect_download() as saving:
            dialog.get_by_role("link", name="Save").click()
        assert saving.value.suggested_filename == "face.png"
        page.keyboard.press("Escape")
        assert read_grid(page, "#tray")[0] == ["5-3-1"]


def test_dragging_on_the_map_moves_the_face_along_two_directions(browser, address):
    with visit(browser, address, "/?generator=avatars&seed=5&faces=6#directions") as visitor:
        page = visitor.page
        before = read_grid(page, "#moved")
        area = page.locator("#map .map")
        area.scroll_into_view_if_needed()
        box = area.bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"], box["y"], steps=4)
        page.mouse.up()
        after = wait_for_change(page, before, "#moved")
        values = "['1', '2'].map((number) => document.querySelector(`[aria-label*='Amount of direction ${number}'][type=range]`)?.value)"
        page.wait_for_function(f"String({values}) === '3,3'")
        area.press("ArrowDown")
        page.wait_for_function(f"String({values}) === '3,2.7'")
        page.get_by_role("button", name="Back to 0").click()
        wait_for_change(page, after, "#moved")
        page.wait_for_function("document.querySelector('#map i').style.left === '50%'")


def test_the_result_stays_in_view_on_a_phone(browser, address, tmp_path):
    with visit(browser, address, "/?generator=avatars&seed=5&faces=6", width=390, height=600) as visitor:
        page = visitor.page
        pick(page, 1, 2)
        for section, slider, result in (("Between", "Face 2", "#blend"), ("Directions", "Amount of direction 6", "#moved")):
            open_section(page, section)
            before = read_grid(page, result)
            control = page.get_by_role("slider", name=slider)
            control.scroll_into_view_if_needed()
            control.press("End")
            wait_for_change(page, before, result)
            box = page.locator(f"{result} .faces button").bounding_box()
            assert box["y"] >= 0 and box["y"] + box["height"] <= 600
        centres = page.evaluate("""() => {
          const middle = (part) => { const box = part.getBoundingClientRect(); return box.x + box.width / 2; };
          const slider = document.querySelector('.bare input[type=range]').getBoundingClientRect();
          const faces = [...document.querySelectorAll('.preview')[0].querySelectorAll('button')].map(middle);
          return [faces[0] - slider.x, slider.right - faces[6]];
        }""")
        assert all(abs(distance - 8) < 4 for distance in centres)  # half a handle


def test_a_sideways_photo_is_turned(browser, address, tmp_path):
    image = pytest.importorskip("PIL.Image")
    picture = image.fromarray(draw_pictures(1, 64)[0].transpose(1, 2, 0))
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned
    picture.save(tmp_path / "upright.png")
    picture.rotate(90, expand=True).save(tmp_path / "sideways.png", exif=exif)
    seen = []
    with visit(browser, address, "/?generator=avatars&faces=4#find") as visitor:
        page = visitor.page
        open_section(page, "Find me")
        page.get_by_label("Find and straighten the face").uncheck()
        for name in ("upright", "sideways"):
            page.locator("#section-find input[type=file]").set_input_files(tmp_path / f"{name}.png")
            page.locator("#found .faces button").first.wait_for()
            seen.append(read_grid(page, "#found")[1])
            page.get_by_role("button", name="Clear").or_(page.get_by_label("Clear")).or_(page.get_by_label("Remove")).first.click()
            page.locator("#found .faces button").first.wait_for(state="detached")
    assert seen[0] == seen[1]
