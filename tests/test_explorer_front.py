"""The explorer's front end in a browser: what it shows are the network's numbers."""

import copy
import json
import re

import numpy as np
import pytest

from CNN import CNN
from Datasets import Dataset, Digits, Scaling
from Filters import Conv2D, GlobalAvgPool2D, MaxPool2D, Residual
from glassbox import explain
from glassbox.explorer.messages import array_of
from glassbox.explorer.page import FRONT, Page
from glassbox.explorer.session import Held, Session
from MLP import BatchNorm, Dense

pytestmark = pytest.mark.slow
DATA = Digits()
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]\d+)?$")


def trained(*layers, seed, **given):
    made = CNN(*layers, seed=seed, **given)
    made.fit(DATA.train.take(400), epochs=3, progress=False)
    return made


@pytest.fixture(scope="module")
def networks():
    small = trained(
        Conv2D(4, 3), MaxPool2D(2), Conv2D(6, 3), Dense(12), Dense(10), seed=1, loss="mse"
    )
    blocks = trained(
        Conv2D(5, 3, stride=2), BatchNorm(), Residual(Conv2D(8, 3), Conv2D(8, 3)),
        GlobalAvgPool2D(), Dense(10, "softmax"), seed=2, loss="cross_entropy",
    )  # fmt: skip
    return [Held("small", small), Held("blocks", blocks, 1), Held("twin", small, 2)]


@pytest.fixture(scope="module")
def served(networks):
    made = Page(Session(networks, DATA.test)).start()
    yield made
    made.close()


@pytest.fixture
def opened(page, served):
    """The page, open on the first test image; nothing may complain."""
    page.looks = []
    page.on("request", lambda sent: page.looks.append(sent) if asks(sent, "look") else None)
    yield open_at(page, served)
    assert page.complaints == []


def open_at(page, served, width=1400, **media):
    page.set_viewport_size({"width": width, "height": 900})
    page.context.set_offline(False)
    page.emulate_media(**media)
    page.goto(served.url)
    page.locator(".verdict", has_text="%").wait_for()
    return page


def asks(request, word):
    return request.url.endswith("/ask") and request.post_data_json["ask"] == word


def answered(page, word, act):
    """Do something, and wait for the answer to what it asks."""
    with page.expect_response(lambda response: asks(response.request, word)) as waited:
        act()
    return waited.value.json()


def canvas(page, address, channel=0):
    return page.locator(f"[data-address='{address}'] .maps canvas").nth(channel)


def click(page, address, place, shape):
    """Click the middle of a pixel of a map."""
    on = canvas(page, address, place[0])
    on.scroll_into_view_if_needed()
    box = on.bounding_box()
    at = [
        (k + 0.5) / n * side
        for k, n, side in zip(place[1:], shape[1:], (box["height"], box["width"]), strict=True)
    ]
    on.click(position={"x": at[1], "y": at[0]})


def shown(page):
    """What the panel's heading says: the layer's name, the place, the number."""
    text = page.locator(".panel h2").inner_text().replace("gradient of ", "")
    name, rest = text.split(", ", 1)
    place, number = rest.split(" = ")
    return name, tuple(map(int, re.findall(r"\d+", place))), float(number)


def scores_shown(page):
    return [float(each.split(" ")[0]) for each in page.locator(".bars output").all_inner_texts()]


def percents(probabilities):
    return [round(100 * float(each), 1) for each in probabilities]


@pytest.mark.parametrize(
    ("index", "address", "place"), [(0, "4", [3]), (0, "2", [1, 0, 3]), (1, "2", [7, 1, 2])]
)
def test_a_clicked_number_leads_step_by_step_to_the_image(opened, networks, index, address, place):
    network = networks[index].network()
    if index:
        answered(
            opened, "look", lambda: opened.get_by_label("network", exact=True).select_option("1")
        )
        opened.locator("[data-address='2.1']").wait_for()
    image = DATA.test.images[:1]
    found = explain.activations_with(network, image)
    outputs = {node.name: found.maps[node.address][0] for node in explain.nodes(network)}
    if len(place) == 1:
        canvas(opened, address).scroll_into_view_if_needed()
        box = canvas(opened, address).bounding_box()
        canvas(opened, address).click(position={"x": (place[0] + 0.5) / 10 * box["width"], "y": 4})
    else:
        click(opened, address, place, found.maps[address][0].shape)
    opened.locator(".panel h2 output").wait_for()
    assert shown(opened)[1] == tuple(place)
    visited = []
    while not visited or visited[-1] != "input":
        name, at, number = shown(opened)
        visited.append(name)
        truth = found.input[0] if name == "input" else outputs[name]
        assert number == pytest.approx(float(truth[at]), rel=1e-8)
        if name != "input":
            before = opened.locator(".panel h2").inner_text()
            opened.get_by_role("button", name="largest term").click()
            opened.wait_for_function(
                "old => document.querySelector('.panel h2').innerText !== old", arg=before
            )
    assert len(visited) > 2
    opened.get_by_role("button", name="Back", exact=True).click()
    opened.locator(".panel h2", has_text=visited[-2]).wait_for()


def test_a_sums_grids_hold_the_patch_the_kernel_and_their_products(opened, networks):
    network = networks[0].network()
    inputs = explain.activations_with(network, DATA.test.images[:1]).maps["1"][0]
    # at the corner, where five taps lie on the padding
    check_grids(opened, network.layers[2], "2", (5, 0, 3), inputs)


def check_grids(page, layer, address, place, inputs):
    """Click a number of a convolution: its grids show each tap where it is in the kernel."""
    click(page, address, place, layer.output_shape)
    block = page.locator(".block").first
    block.wait_for()
    page.locator(".panel h2", has_text=f"row {place[1]}, column {place[2]}").wait_for()
    channel = int(re.search(r"map (\d+)", block.inner_text())[1])
    titles = [
        grid.locator("> *").evaluate_all("all => all.map((each) => each.title)")
        for grid in block.locator(".grid").all()
    ]
    weights, (kernel, stride, dilation, padding, _) = layer.parameters["weight"], layer.window
    assert {len(each) for each in titles} == {kernel[0] * kernel[1]}
    for at, (row, column) in enumerate(np.ndindex(kernel)):
        y = place[1] * stride[0] - padding[0] + row * dilation[0]
        x = place[2] * stride[1] - padding[2] + column * dilation[1]
        if not (0 <= y < inputs.shape[1] and 0 <= x < inputs.shape[2]):
            assert titles[0][at] == "padding"
            continue
        value, weight = inputs[channel, y, x], weights[place[0], channel, row, column]
        for title, number in zip(titles, (value, weight, value * weight), strict=True):
            assert float(title[at]) == pytest.approx(float(number), rel=6e-3, abs=1e-12)


@pytest.mark.parametrize("layer", [Conv2D(1, 3, dilation=2), Conv2D(1, 5, stride=2)])
def test_the_grids_of_windows_as_large_as_the_image_are_right_too(page, layer):
    network = CNN(layer, Dense(2)).build((1, 3, 3))
    images = np.arange(1, 10, dtype=np.float32).reshape(1, 1, 3, 3)
    data = Dataset(images, np.array([1]), ("a", "b"), Scaling("none"))
    served = Page(Session(network, data)).start()
    open_at(page, served)
    for row, column in np.ndindex(layer.window.output):
        check_grids(page, layer, "0", (0, row, column), images[0])
    served.close()
    assert page.complaints == []


def test_what_is_drawn_by_mouse_is_what_the_network_is_asked(opened, networks):
    answered(opened, "look", lambda: opened.get_by_role("button", name="clear").click())
    box = opened.locator(".draw").bounding_box()
    x, y, side = box["x"], box["y"], box["width"]
    opened.mouse.move(x + 0.3 * side, y + 0.2 * side)
    opened.mouse.down()
    for k in range(8):
        opened.mouse.move(x + (0.3 + 0.05 * k) * side, y + (0.2 + 0.08 * k) * side)
    opened.mouse.up()
    opened.wait_for_load_state("networkidle")
    image = array_of(opened.looks[-1].post_data_json["image"])
    assert image.max() > 0 and (image == 0).any()
    expected = percents(networks[0].network().predict_proba(image[None])[0])
    opened.wait_for_function(
        """expected => [...document.querySelectorAll(".bars output")]
            .every((each, k) => Math.abs(parseFloat(each.textContent) - expected[k]) < 0.11)""",
        arg=expected,
    )
    opened.get_by_role("button", name="undo").click()
    opened.wait_for_load_state("networkidle")
    assert (array_of(opened.looks[-1].post_data_json["image"]) == 0).all()


HELD = """(word) => {
    const real = window.fetch;
    window.held = [];
    window.fetch = (...given) => JSON.parse(given[1].body).ask !== word ? real(...given)
        : new Promise((done) => held.push({ go: () => done(real(...given)), body: given[1].body }));
}"""


def test_while_the_host_computes_only_the_last_stroke_waits(opened):
    answered(opened, "look", opened.get_by_role("button", name="clear").click)
    opened.evaluate(HELD, "look")
    pen = opened.locator(".draw")
    for key in (" ", "ArrowRight", " ", "ArrowDown", " "):
        pen.press(key)
    assert opened.evaluate("held.length") == 1
    opened.evaluate("held[0].go()")
    opened.wait_for_function("() => held.length > 1")
    answered(opened, "look", lambda: opened.evaluate("held[1].go()"))
    first, last = (
        array_of(json.loads(each)["image"])
        for each in opened.evaluate("held.map(({ body }) => body)")
    )
    assert last.astype(int).sum() > first.astype(int).sum()


def test_of_two_networks_chosen_in_a_row_the_last_counts_whichever_is_read_first(opened):
    opened.evaluate(HELD, "describe")
    choose = opened.get_by_label("network", exact=True)
    choose.select_option("1")
    choose.select_option("2")
    answered(opened, "look", lambda: opened.evaluate("held[1].go()"))
    answered(opened, "describe", lambda: opened.evaluate("held[0].go()"))
    answered(opened, "look", opened.get_by_role("button", name="clear").click)
    assert opened.looks[-1].post_data_json["network"] == 2
    assert choose.input_value() == "2"


def test_maps_of_a_network_are_not_drawn_as_those_of_another(opened):
    opened.evaluate(HELD, "look")
    opened.locator(".draw").press(" ")
    chosen = opened.get_by_label("network", exact=True).select_option
    answered(opened, "describe", lambda: chosen("1"))
    opened.locator("h1", has_text="blocks").wait_for()
    opened.evaluate("held[0].go()")
    opened.wait_for_function("() => held.length > 1")
    assert opened.locator("[data-address='2.1']").count() == 0
    opened.evaluate("held[1].go()")
    opened.locator("[data-address='2.1']").wait_for()


def test_an_explanation_is_marked_where_something_changed_since(opened):
    result = opened.locator(".explain .result")
    run = opened.get_by_role("button", name="explain", exact=True)
    answered(opened, "explain", run.click)
    opened.locator(".explain .result:not(.stale) canvas").first.wait_for()
    answered(opened, "look", opened.get_by_label("conv1, filter 0: on").click)
    assert "stale" in result.get_attribute("class")
    opened.evaluate(HELD, "explain")
    run.click()
    answered(opened, "look", opened.get_by_role("button", name="clear").click)
    result.evaluate("each => (window.before = each.firstChild)")
    answered(opened, "explain", lambda: opened.evaluate("held[0].go()"))
    opened.wait_for_function("() => !before.isConnected")
    assert "stale" in result.get_attribute("class")
    run.click()
    opened.evaluate("held[1].go()")
    opened.locator(".explain .result:not(.stale) canvas").first.wait_for()


def test_it_is_used_by_the_keyboard_alone(opened):
    press = opened.keyboard.press
    focused = "document.activeElement.getAttribute('aria-label') ?? ''"

    def tab_to(start):
        for _ in range(120):
            press("Tab")
            if opened.evaluate(focused).startswith(start):
                return
        pytest.fail(f"Tab does not lead to {start}")

    tab_to("Drawing area")
    press("c")
    with opened.expect_response(lambda response: asks(response.request, "look")):
        for key in ("Shift+ArrowDown", "Shift+ArrowDown", "Shift+ArrowRight"):
            press(key)
    tab_to("conv1, map 0")
    press("ArrowDown")
    press("ArrowRight")
    assert "row 1, column 1" in opened.evaluate(focused)
    press("PageDown")
    assert opened.evaluate(focused).startswith("conv1, map 1")
    press("o")
    opened.get_by_role("button", name="conv1, filter 1: off").wait_for()
    press("o")
    opened.get_by_role("button", name="conv1, filter 1: on").wait_for()
    press("Enter")
    opened.locator(".panel h2", has_text="conv1, map 1, row 1, column 1").wait_for()
    press("n")
    opened.locator(".panel h2", has_text="input, map 0").wait_for()
    press("Escape")
    opened.locator(".panel").wait_for(state="hidden")


def test_a_filter_that_is_switched_off_changes_scores_and_accuracy(opened, networks):
    network = networks[0].network()
    switch = opened.get_by_role("button", name="conv1, filter 2: on")
    answered(opened, "look", switch.click)
    found = explain.activations_with(network, DATA.test.images[:1], {0: [2]})
    opened.wait_for_function(
        """expected => [...document.querySelectorAll(".bars output")]
            .every((each, k) => Math.abs(parseFloat(each.textContent) - expected[k]) < 0.11)""",
        arg=percents(found.probabilities[0]),
    )
    reply = answered(opened, "rescore", opened.get_by_role("button", name="score the test").click)
    right = explain.predict_with(network, DATA.test, {0: [2]}) == DATA.test.labels
    assert reply["accuracy"] == pytest.approx(right.mean())
    said = opened.locator(".changes .result", has_text="Right").inner_text()
    assert f"{100 * right.mean():.1f} %" in said
    answered(opened, "look", opened.get_by_role("button", name="put all back").click)
    assert opened.looks[-1].post_data_json["off"] == {}


def test_a_weight_set_by_hand_counts_until_it_is_put_back(opened, networks):
    click(opened, "0", (1, 4, 4), (4, 8, 8))
    opened.locator(".block").first.wait_for()
    opened.get_by_role("button", name=re.compile(r"weight \[1, 0, 0, 2\]")).click()
    box = opened.get_by_label("another value")
    box.fill("2.5")
    answered(opened, "look", lambda: box.press("Enter"))
    (change,) = opened.looks[-1].post_data_json["weights"]
    assert change == {"layer": "0", "parameter": "weight", "index": [1, 0, 0, 2], "value": 2.5}
    assert opened.locator(".chips").inner_text().startswith("conv1 weight [1, 0, 0, 2] = 2.5")
    answered(opened, "look", opened.locator(".panel").get_by_text("put back").click)
    assert opened.looks[-1].post_data_json["weights"] == []


def test_the_measured_field_is_drawn_in_the_panel(opened):
    click(opened, "2", (5, 0, 3), (6, 4, 4))
    measure = opened.get_by_role("button", name="measured field")
    reply = answered(opened, "explain", measure.click)
    opened.get_by_role("img", name="measured field").wait_for()
    data = array_of(reply["map"])
    drawn = opened.get_by_role("img", name="measured field").evaluate(
        "each => [each.height, each.width]"
    )
    assert drawn == list(data.shape[-2:])


def test_backward_a_click_asks_where_a_gradient_came_from(opened, networks):
    label = int(DATA.test.labels[0])
    answered(opened, "look", opened.get_by_role("button", name="backward").click)
    click(opened, "1", (2, 1, 1), (4, 4, 4))
    opened.locator(".panel h2", has_text="gradient of pool1, map 2, row 1, column 1").wait_for()
    found = explain.gradients_with(networks[0].network(), DATA.test.images[:1], label)
    assert shown(opened)[2] == pytest.approx(float(found.maps["1"][0][2, 1, 1]), rel=1e-5)


def test_two_networks_are_seen_side_by_side_and_as_a_difference(opened, networks):
    beside = opened.get_by_label("beside", exact=True)
    answered(opened, "look", lambda: beside.select_option("2"))
    opened.locator(".stack.beside").wait_for()
    opened.get_by_role("button", name="difference").click()
    opened.locator(".stack.beside").wait_for(state="detached")
    legends = opened.locator(".layer .legend").all_inner_texts()
    assert set(legends) == {"all zero"}  # the twin is the same network
    beside.select_option("1")
    opened.get_by_role("button", name="where do they disagree").click()
    one, two = (explain.predict_with(networks[k].network(), DATA.test) for k in (0, 1))
    differ = np.flatnonzero(one != two)
    said = opened.locator(".choices .result", has_text="differ on")
    assert f"{len(differ)} test images" in said.inner_text()
    assert said.get_by_role("button").first.inner_text() == str(differ[0])


def test_a_pixel_of_the_image_keeps_its_number_in_the_difference(opened, networks):
    answered(opened, "look", lambda: opened.get_by_label("beside", exact=True).select_option("2"))
    opened.get_by_role("button", name="difference", exact=True).click()
    opened.locator(".stack .caption", has_text="minus").wait_for()
    click(opened, "input", [0, 0, 3], (1, 8, 8))
    opened.locator(".panel h2 output").wait_for()
    truth = DATA.test.batch([0])[0][0, 0, 0, 3]
    assert truth != 0
    assert shown(opened) == ("input", (0, 0, 3), pytest.approx(float(truth), rel=1e-8))


def test_undo_brings_back_the_label_with_the_image(opened):
    label = opened.get_by_label("label", exact=True)
    undo = opened.get_by_role("button", name="undo")
    labels = [str(DATA.test.labels[index]) for index in (0, -1)]
    assert labels[0] != labels[1]
    answered(opened, "look", lambda: opened.get_by_label("previous test image").click())
    assert label.input_value() == labels[1]
    answered(opened, "look", lambda: opened.get_by_role("button", name="clear").click())
    assert label.input_value() == ""
    opened.locator(".draw").focus()
    answered(opened, "look", lambda: opened.keyboard.press(" "))
    label.select_option("3")  # chosen for what was drawn, which stays when a stroke is taken back
    for expected in ("3", labels[1], labels[0]):
        answered(opened, "look", undo.click)
        assert label.input_value() == expected


def test_the_slider_of_epochs_looks_with_another_network(opened):
    slider = opened.get_by_role("slider", name="epoch")
    answered(opened, "look", lambda: slider.fill("1"))
    assert opened.looks[-1].post_data_json["network"] == 2


@pytest.mark.parametrize("method", ["saliency", "occlusion", "grad_cam", "most_exciting", "fgsm"])
def test_an_explanation_is_shown_with_its_sentence(opened, method):
    choose = opened.get_by_label("method", exact=True).select_option
    reply = answered(opened, "explain", lambda: choose(method))
    assert "error" not in reply
    opened.locator(".explain .result", has_text=reply["text"]).wait_for()
    assert opened.locator(".explain .result canvas").count() == len(reply.get("images", "12"))


def test_a_photograph_is_prepared_and_every_step_shown(opened, tmp_path):
    pixels = np.full((40, 30, 3), 230, np.uint8)
    pixels[8:32, 12:17] = 20
    image = pytest.importorskip("PIL.Image").fromarray(pixels)
    image.save(tmp_path / "one.png")
    choose = opened.locator("input[type=file]").set_input_files
    reply = answered(opened, "prepare", lambda: choose(tmp_path / "one.png"))
    opened.locator(".steps figure").nth(len(reply["steps"]) - 1).wait_for()
    opened.wait_for_load_state("networkidle")
    prepared, looked = array_of(reply["image"]), opened.looks[-1].post_data_json["image"]
    assert (array_of(looked) == prepared).all()


def test_what_a_host_does_not_answer_has_no_control(page, served):
    def few(route):
        reply = route.fetch()
        told = reply.json()
        if asks(route.request, "describe"):
            told |= {"can": ["describe", "look", "sum"]}
        route.fulfill(response=reply, body=json.dumps(told))

    page.route("**/ask", few)
    open_at(page, served)
    for name in ("photograph", "random", "score the test", "backward", "explain"):
        assert page.get_by_role("button", name=name).count() == 0
    assert page.get_by_role("button", name="clear").count() == 1


def test_an_error_of_the_host_is_one_line_that_can_be_dismissed(opened):
    opened.route("**/ask", lambda route: route.fulfill(
        json={"id": route.request.post_data_json["id"], "error": "sum: no such place"}
    ))  # fmt: skip
    click(opened, "0", (1, 4, 4), (4, 8, 8))
    alert = opened.get_by_role("alert").filter(has_text="sum: no such place")
    alert.wait_for()
    alert.get_by_role("button", name="Dismiss").click()
    alert.wait_for(state="hidden")


def test_a_training_is_shown_and_its_image_looked_at_again(opened, served):
    state = {
        "state": "paused", "step": 12, "epoch": 1, "epochs": 3, "loss": 0.25, "accuracy": 0.5,
        "history": [], "recent": [[11, 0.5], [12, 0.25]],
    }  # fmt: skip
    answered(opened, "look", lambda: served.send({"event": "training", **state}))
    strip = opened.get_by_role("region", name="Training")
    assert "epoch 1 of 3 · step 12 · loss 0.25" in strip.inner_text()
    assert strip.get_by_role("img").get_attribute("aria-label").endswith("from 0.5 to 0.25")


def test_the_guide_notices_what_was_done(opened):
    guide = opened.get_by_role("region", name="Guide")
    opened.locator(".draw").focus()
    answered(opened, "look", lambda: opened.keyboard.press(" "))
    assert guide.inner_text().startswith("●○○○○○")
    assert "2 of 6" in guide.inner_text()
    assert "lit" in opened.locator("[data-address='0'] .maps").get_attribute("class")
    guide.get_by_role("button", name="Close").click()
    guide.wait_for(state="hidden")
    assert opened.locator(".lit").count() == 0


def test_every_control_has_a_name_and_every_picture_a_text(opened):
    click(opened, "2", (5, 0, 3), (6, 4, 4))
    opened.locator(".block").first.wait_for()
    nameless = opened.evaluate("""() =>
        [...document.querySelectorAll("button, input, select, canvas")]
        .filter((each) => each.offsetParent && !(each.ariaLabel || each.labels?.[0]?.innerText
            || (each.tagName === "BUTTON" && each.innerText)))
        .map((each) => each.outerHTML)""")
    assert nameless == []
    assert opened.locator("canvas:not([role])").count() == 0


def test_a_network_that_has_diverged_is_shown_as_not_finite(page, networks):
    lost = copy.deepcopy(networks[0].network())
    lost.layers[2].parameters["weight"][0] = np.nan
    served = Page(Session(lost, DATA.test)).start()
    page.set_viewport_size({"width": 1400, "height": 900})
    page.context.set_offline(False)
    page.goto(served.url)
    page.locator(".verdict", has_text="not finite").wait_for()
    click(page, "2", (0, 1, 1), (6, 4, 4))
    page.locator(".panel h2", has_text="not finite").wait_for()
    served.close()
    assert page.complaints == []


@pytest.fixture(scope="module")
def wide():
    """128 filters, colors, 100 classes with long names."""
    made = CNN(Conv2D(128, 5), MaxPool2D(4), Conv2D(2, 3), Dense(300), Dense(100), seed=0)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), np.uint8)
    names = tuple(f"a rather long name of a class, {k}" for k in range(100))
    made.build((3, 32, 32))
    made.scaling = Scaling()
    served = Page(Session(made, Dataset(images, np.array([7, 8]), names, made.scaling))).start()
    yield served
    served.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1000, 1400])
def test_no_width_needs_a_horizontal_scroll_bar(page, served, wide, width, scheme):
    for each, shapes in ((served, (4, 8, 8)), (wide, (128, 32, 32))):
        open_at(page, each, width, color_scheme=scheme)
        click(page, "0", (1, 4, 4), shapes)
        page.locator(".panel h2", has_text="conv1, map 1, row 4, column 4 =").wait_for()
        beyond = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert beyond <= 0
        ground = page.locator(".glassbox-explorer").evaluate(
            "each => getComputedStyle(each).backgroundColor"
        )
        dark = max(map(int, NUMBER.findall(ground) or re.findall(r"\d+", ground))) < 128
        assert dark == (scheme == "dark")
    assert page.complaints == []


def test_of_many_maps_and_classes_the_first_are_shown_and_all_on_demand(page, wide):
    open_at(page, wide)
    maps = page.locator("[data-address='0'] .maps canvas")
    assert maps.count() == 32
    page.get_by_role("button", name="show all 128").first.click()
    assert maps.count() == 128
    assert page.locator(".bars li").count() == 10
    page.get_by_role("button", name="all 100 classes").click()
    assert page.locator(".bars li").count() == 100


def test_the_style_stays_inside_the_explorer():
    text = re.sub(r"/\*.*?\*/", "", (FRONT / "style.css").read_text("utf-8"), flags=re.S)
    depth, outside = 0, ""
    for character in text:
        depth += {"{": 1, "}": -1}.get(character, 0)
        outside += character if depth == 0 else ""
    assert outside.replace("}", "").split() == [".glassbox-explorer"]
