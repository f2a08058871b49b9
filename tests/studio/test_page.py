"""The studio's page in a real browser: every section, with mouse and keyboard, on desktop and phone."""

import hashlib
import io
import shutil
import signal
import zipfile

import pytest
from browsers import serve, visit
from PIL import Image
from projects import ROOT, copy_project, make_shards, start_stage
from small_generators import write_small
from test_runs import git, write_run

SHOWN = """async (place) => {
  const faces = [...document.querySelectorAll(`${place} .faces button`)];
  const sheet = await (await fetch(getComputedStyle(faces[0].firstElementChild).backgroundImage.slice(5, -2))).arrayBuffer();
  return [faces.map((face) => face.dataset.face), Array.from(new Uint8Array(sheet))];
}"""
REACHABLE = """[...document.querySelectorAll('button, input, textarea, a[href], [tabindex="0"]')].filter((part) =>
  part.checkVisibility({visibilityProperty: true}) && !part.disabled && part.tabIndex >= 0 && part.type !== 'file'
)"""
pytestmark = pytest.mark.slow
SECTIONS = ("Wall", "Between", "Directions", "Find me", "Origins", "Runs", "Watch", "Take it along")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with the shipped generator, one with styles, photos, and three runs of a small generator."""
    project = tmp_path_factory.mktemp("page") / "project"
    (project / "pretrained").mkdir(parents=True)
    shutil.copy(ROOT / "pretrained" / "avatars.safetensors", project / "pretrained")
    write_small(project / "pretrained" / "styles.safetensors", "stylegan2")
    make_shards(project)
    git(project, "init", "-q", "-b", "main")
    (project / ".gitignore").write_text(".dvc\ndata\npretrained\nstudio.log\n")
    for lr, score, protocol in ((1e-4, 50.0, "aaa"), (2e-4, 40.0, "aaa"), (3e-4, 30.0, "bbb")):
        write_run(project, lr, score, protocol, seed=int(score))
        git(project, "add", ".")
        git(project, "commit", "-qm", f"rate {lr}")
    return project


@pytest.fixture(scope="module")
def address(project):
    with serve(project) as (address, _):
        yield address


def read_grid(page, place="#wall"):
    """Returns the faces in a grid and the hash of their pixels."""
    page.locator(f"{place} .faces button").first.wait_for()
    page.locator(f"{place} .faces:not([data-drawn='0']):not(:has(.waiting))").wait_for()
    faces, sheet = page.evaluate(SHOWN, place)
    return faces, hashlib.sha256(bytes(sheet)).hexdigest()


def wait_for_change(page, before, place="#wall"):
    """Waits until the pixels of a grid have changed; returns its new content."""
    for _ in range(600):
        now = read_grid(page, place)
        if now[1] != before[1]:
            return now
        page.wait_for_timeout(100)
    raise AssertionError(f"{place} never changed")


def wait_for_picks(page, count):
    page.wait_for_function("count => document.querySelectorAll('#tray .faces button').length === count", arg=count)


def open_section(page, name):
    page.wait_for_function("window.facegan?.generator")  # earlier clicks may be lost while Gradio loads
    page.get_by_role("tab", name=name, exact=True).click()
    page.locator(f"#section-{name.split()[0].lower()}").wait_for()


def pick(page, *numbers):
    """Clicks faces of the wall, and waits until they are in the tray."""
    read_grid(page)
    for number in numbers:
        page.locator("#wall .faces button").nth(number).click()
    wait_for_picks(page, len(numbers))


def test_a_link_restores_the_wall_and_the_picks(browser, address):
    with visit(browser, address) as visitor:
        page = visitor.page
        first = read_grid(page)
        assert len(first[0]) == 64
        page.get_by_role("button", name="New seed").click()
        second = wait_for_change(page, first)
        page.get_by_role("slider", name="Truncation").press("ArrowLeft")
        third = wait_for_change(page, second)
        pick(page, 2, 5)
        link = page.locator('#saving a[href*="picked="][href*="+"]', has_text="Link to this wall")
        link.wait_for()
        link = link.get_attribute("href")
    with visit(browser, address, f"/{link}") as other:
        assert read_grid(other.page) == third
        wait_for_picks(other.page, 2)
        assert read_grid(other.page, "#tray")[0] == [third[0][2], third[0][5]]
        assert other.page.locator('#wall [aria-pressed="true"]').count() == 2


def test_picked_faces_are_kept_and_can_be_removed(browser, address):
    with visit(browser, address, "/?seed=4&faces=12") as visitor:
        page = visitor.page
        pick(page, 1, 3)
        picked = read_grid(page, "#tray")
        wall = read_grid(page)
        page.get_by_role("button", name="New seed").click()
        wait_for_change(page, wall)
        assert read_grid(page, "#tray") == picked
        page = visitor.context.new_page()
        page.goto(address + "/")  # without the link
        wait_for_picks(page, 2)
        assert read_grid(page, "#tray") == picked
        page.locator("#tray .faces button").first.click()
        page.get_by_role("dialog").get_by_role("button", name="Remove").click()
        wait_for_picks(page, 1)
        page.keyboard.press("Escape")
        assert read_grid(page, "#tray")[0] == picked[0][1:]
        page.get_by_role("button", name="Undo").click()
        wait_for_picks(page, 2)
        assert read_grid(page, "#tray") == picked
        for part in ("0, 4", "0, 4", "4, 7"):  # quick clicks are all counted
            page.evaluate(f"[...document.querySelectorAll('#wall .faces button')].slice({part}).forEach((button) => button.click())")
        wait_for_picks(page, 5)
        assert page.locator('#wall [aria-pressed="true"]').count() == 3
        wait_for_picks(visitor.page, 5)  # the other page shows them too
        visitor.page.locator("#wall .faces button").nth(0).click()
        wait_for_picks(page, 6)


def test_picks_never_vanish(browser, address):
    with visit(browser, address, "/?generator=styles&seed=4&faces=40") as visitor:
        page = visitor.page
        pick(page, 1, 3)
        open_section(page, "Between")
        read_grid(page, "#blend")
        page.locator("#section-between").get_by_role("button", name="Pick this face").first.click()
        wait_for_picks(page, 3)
        kept = read_grid(page, "#tray")[0]
        assert kept[2].startswith("~")
        page = visitor.context.new_page()  # a reloaded page would log its closed connection
        page.goto(f"{address}/?generator=styles&seed=4&faces=40")
        wait_for_picks(page, 3)
        wall = read_grid(page)
        page.get_by_role("button", name="New seed").click()
        wait_for_change(page, wall)
        page = visitor.context.new_page()
        page.goto(f"{address}/?generator=styles&picked=5-1-1+5-999-1+4-1-1")  # a new face, an impossible one, one of the picked
        wait_for_picks(page, 4)
        line = page.locator("#picks .line")
        assert "Added" in line.inner_text() and "cannot be drawn" in line.inner_text()
        assert read_grid(page, "#tray")[0] == [*kept, "5-1-1"]
        page.get_by_role("button", name="Undo").click()
        wait_for_picks(page, 3)
        read_grid(page)
        page.evaluate("[...document.querySelectorAll('#wall .faces button')].slice(0, 20).forEach((button) => button.click())")
        wait_for_picks(page, 16)
        assert "did not fit" in line.inner_text()
        assert read_grid(page, "#tray")[0][:3] == kept
        page.get_by_label("Generator").click()
        page.get_by_role("option", name="avatars").click()
        page.locator("#tray .hint").wait_for()  # no picks of this generator
        page.get_by_label("Generator").click()
        page.get_by_role("option", name="styles").click()
        wait_for_picks(page, 16)


def test_downloads_are_complete(browser, address, tmp_path):
    with visit(browser, address, "/?seed=4&faces=12") as visitor:
        pick(visitor.page, 1, 3)
        visitor.page.get_by_role("link", name="Save the picked faces").wait_for()

        def download(name):
            with visitor.page.expect_download() as saving:
                visitor.page.get_by_role("link", name=name).click()
            saving.value.save_as(tmp_path / "file")
            return io.BytesIO((tmp_path / "file").read_bytes())

        Image.open(download("Save the wall")).load()
        assert len(zipfile.ZipFile(download("Save all faces")).namelist()) == 12
        assert len(zipfile.ZipFile(download("Save the picked faces")).namelist()) == 2


def test_between_blends_walks_and_mixes(browser, address):
    with visit(browser, address, "/?generator=styles&seed=4&faces=12") as visitor:
        page = visitor.page
        pick(page, 1, 3, 5)
        open_section(page, "Between")
        first = read_grid(page, "#blend")
        page.get_by_role("slider", name="Face 3").press("End")
        wait_for_change(page, first, "#blend")
        page.locator("#section-between").get_by_role("button", name="Pick this face").first.click()
        wait_for_picks(page, 4)
        mixed = read_grid(page, "#mixed")
        page.get_by_role("slider", name="First layer of the second face").press("Home")
        wait_for_change(page, mixed, "#mixed")
        page.get_by_role("button", name="Walk", exact=True).click()
        page.locator("#moving img").wait_for()
        assert page.evaluate("document.querySelector('#moving img').decode().then(() => true)")


def test_directions_move_a_face_and_keep_their_names(browser, address, project):
    expect = pytest.importorskip("playwright.sync_api").expect
    with visit(browser, address, "/?seed=4&faces=12") as visitor:
        page = visitor.page
        pick(page, 1)
        open_section(page, "Directions")
        first = read_grid(page, "#moved")
        page.get_by_role("slider", name="Amount of direction 2").press("End")
        second = wait_for_change(page, first, "#moved")
        page.get_by_role("button", name="direction 1 at -3").click()
        third = wait_for_change(page, second, "#moved")
        page.get_by_role("button", name="Back to 0").click()
        assert wait_for_change(page, third, "#moved")[1] == first[1]
        name = page.get_by_role("textbox", name="Direction 3")
        name.fill("sunglasses <b>")
        name.press("Enter")
        for _ in range(600):
            if any("sunglasses <b>" in path.read_text() for path in (project / "data" / "directions").glob("*.json")):
                break
            page.wait_for_timeout(100)
    with visit(browser, address, "/?seed=4&faces=12") as other:
        open_section(other.page, "Directions")
        expect(other.page.get_by_role("textbox", name="Direction 3")).to_have_value("sunglasses <b>", timeout=60_000)


def test_a_photo_is_found_and_its_face_passed_on(browser, address, tmp_path):
    with visit(browser, address, "/?seed=4&faces=12") as visitor:
        page = visitor.page
        with page.expect_download() as saving:
            page.get_by_role("link", name="Save the wall").click()
        saving.value.save_as(tmp_path / "wall.png")
        Image.open(tmp_path / "wall.png").crop((128, 0, 256, 128)).save(tmp_path / "face.png")
        open_section(page, "Find me")
        page.locator("#section-find input[type=file]").set_input_files(tmp_path / "face.png")
        page.locator("#found .faces button").first.wait_for()
        page.get_by_role("button", name="Find", exact=True).click()
        page.locator("#found .faces button").nth(1).wait_for()
        page.get_by_role("button", name="Stop").click()
        page.wait_for_timeout(2000)
        stopped = read_grid(page, "#found")
        page.wait_for_timeout(2000)
        assert read_grid(page, "#found") == stopped
        assert "of 255" in page.locator("#finding").inner_text()
        page.get_by_role("button", name="Pick the found face").click()
        wait_for_picks(page, 1)
        open_section(page, "Origins")
        page.locator("#train-photos .faces button").nth(5).wait_for()
        assert "trained on other photos" in page.locator("#origin-facts").inner_text()


def test_an_invalid_photo_is_reported_on_the_page(browser, address, tmp_path):
    (tmp_path / "no.png").write_bytes(b"no picture")
    with visit(browser, address) as visitor:
        open_section(visitor.page, "Find me")
        visitor.page.locator("#section-find input[type=file]").set_input_files(tmp_path / "no.png")
        visitor.page.get_by_text("expected a photo").first.wait_for()


def test_runs_are_compared_in_one_table(browser, address):
    with visit(browser, address) as visitor:
        page = visitor.page
        open_section(page, "Runs")
        read_grid(page, "#run-3")
        table = page.locator("#scores table")
        rows = [row.inner_text() for row in table.locator("tbody tr").all()]
        assert rows[0].startswith("workspace") and "avatars" in rows[-1]  # also faces of a generator without a run
        assert "lower is better" in table.locator("thead").inner_text()
        newest = next(row for row in rows if "rate 0.0002" in row)
        assert "40" in newest and "protocol aaa" in newest
        changes = page.locator("#scores li").all_inner_texts()
        assert any("train.lr: 0.0002 (was 0.0001)" in change for change in changes)
        assert table.locator("b").all_inner_texts() == ["40"]  # the best of those with the same protocol
        page.locator("#scores").get_by_text("different protocols").wait_for()
        page.locator("#scores summary").click()
        page.locator("#scores details").get_by_text("by the features of a network").wait_for()
        workspace, other, last = (read_grid(page, f"#run-{number}") for number in (0, 1, 2))
        assert workspace[0] == other[0] == last[0] and len({workspace[1], other[1], last[1]}) == 3  # the same latents
        paths = page.locator("#run-curves .mark-line path")
        paths.nth(2).wait_for(state="attached")
        before = paths.first.get_attribute("d")
        page.get_by_role("slider", name="Points averaged").press("End")
        page.wait_for_function("before => document.querySelector('#run-curves .mark-line path')?.getAttribute('d') !== before", arg=before)
        page.locator("#section-runs .token-remove").first.click()
        page.locator("#run-3").wait_for(state="hidden")


def test_every_control_can_be_used_with_the_keyboard(browser, address):
    with visit(browser, address, "/?seed=4&faces=6") as visitor:
        page = visitor.page
        read_grid(page)
        for section in SECTIONS:
            page.evaluate("document.activeElement.blur()")
            for _ in range(200):  # Tab to the sections' tabs
                page.keyboard.press("Tab")
                if page.evaluate("document.activeElement.role === 'tab'"):
                    break
            for _ in SECTIONS:  # and arrow keys to the section
                if page.locator("#sections [aria-selected=true]").inner_text() == section:
                    break
                page.keyboard.press("ArrowRight")
            page.wait_for_timeout(1500)
            page.evaluate("document.activeElement.blur(); window.reached = new Set()")
            page.evaluate("document.addEventListener('focusin', (event) => reached.add(event.target))")
            for _ in range(page.evaluate(f"{REACHABLE}.length") + 40):
                page.keyboard.press("Tab")
            missed = page.evaluate(f"{REACHABLE}.filter((part) => !reached.has(part)).map((part) => part.outerHTML.slice(0, 200))")
            assert missed == [], section
        page.get_by_role("tab", name="Wall", exact=True).press("Enter")
        face = page.locator("#wall .faces button").nth(2)
        face.press("Enter")
        wait_for_picks(page, 1)
        assert face.evaluate("part => part === document.activeElement")  # the focus is kept
        page.locator("#tray .faces button").first.press("Space")
        page.get_by_role("dialog").get_by_role("button", name="Remove").press("Enter")
        page.keyboard.press("Escape")
        page.locator("#tray .hint").wait_for()


def test_every_section_fits_a_phone(browser, address):
    with visit(browser, address, "/?seed=4&faces=12", width=360, height=740) as visitor:
        pick(visitor.page, 1, 3)
        for section in SECTIONS:
            open_section(visitor.page, section)
            visitor.page.wait_for_timeout(1500)
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360, section


def test_without_a_model_the_shipped_generator_is_shown_and_how_to_train_another(browser, tmp_path):
    (tmp_path / "pretrained").mkdir()
    shutil.copy(ROOT / "pretrained" / "avatars.safetensors", tmp_path / "pretrained")
    with serve(tmp_path) as (address, _), visit(browser, address) as visitor:
        assert len(read_grid(visitor.page)[0]) == 64
        visitor.page.locator("#about").get_by_text("make demo").wait_for()


def test_a_running_training_is_watched_until_it_is_killed(browser, tmp_path):
    project = copy_project(tmp_path, images=1_000_000, progress_images=1600)
    make_shards(project)
    (project / "pretrained").mkdir()
    write_small(project / "pretrained" / "small.safetensors")
    process = start_stage(project, "train", "--checkpoint-seconds", "5")
    try:
        with serve(project) as (address, _), visit(browser, address) as visitor:
            page = visitor.page
            open_section(page, "Watch")
            page.locator("#facts").get_by_text("running").wait_for()
            newest = "document.querySelector('#film figure:last-child img')?.src"
            for _ in range(2):
                page.wait_for_function(f"{newest} && document.querySelector('#film figure:last-child img').naturalWidth > 0")
                seen = page.evaluate(newest)
                page.wait_for_function(f"{newest} !== '{seen}'")
            page.locator("#curves .mark-line path").first.wait_for(state="attached")
            assert "time left" in page.locator("#facts").inner_text()
            page.get_by_role("slider", name="Picture to compare").press("Home")
            page.locator("#film figure:first-child").get_by_text("after 0 images").wait_for()
            page.get_by_role("button", name="newest checkpoint").click()
            page.wait_for_function("facegan.generator.startsWith('training')")
            open_section(page, "Wall")
            faces = read_grid(page)
            faces = wait_for_change(page, faces)  # the next checkpoint
            process.send_signal(signal.SIGKILL)
            process.communicate()
            open_section(page, "Watch")
            page.locator("#facts").get_by_text("stopped").wait_for()
            open_section(page, "Wall")
            faces = read_grid(page)
            process = start_stage(project, "train", "--checkpoint-seconds", "5")  # resumes
            assert wait_for_change(page, faces)[0] == faces[0]
            open_section(page, "Watch")
            page.locator("#facts").get_by_text("running").wait_for()
    finally:
        process.kill()
        process.communicate()
