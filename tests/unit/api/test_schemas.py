"""What a request may hold, and the sentence for everything it may not."""

import pytest
from pydantic import ValidationError

from reelgate_api.schemas import GenerateBody, ManualCallbackBody, explain
from reelgate_common.domain.errors import InvalidInput

IMAGE = "https://images.example/cat.png"
GOOD = {"wallet_address": "0xabc", "image_urls": [IMAGE]}
PUBLIC = "image_urls must be public: Kie.ai cannot fetch from a private or local address"
HTTP = "image_urls must be http(s) URLs of at most 2048 characters"
USER = "image_urls must not carry a user name or password"
WALLET = "wallet_address must be 1-128 visible ASCII characters"


def refusal(body, model=GenerateBody, *, reference_limit=8):
    """The field and the sentence of the first thing that is wrong; None when nothing is."""
    try:
        parsed = model.model_validate(body)
        if isinstance(parsed, GenerateBody):
            parsed.to_request(reference_limit=reference_limit)
    except ValidationError as error:
        found = explain(error.errors())[0]
        return found["field"], found["message"]
    except InvalidInput as error:
        return error.field, str(error)
    return None


def refused(**changes):
    return refusal(GOOD | changes)


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


def test_the_guides_request_is_good():
    body = GOOD | {"prompt": "A character waving hello", "aspect_ratio": "landscape"}

    assert refusal(body) is None


def test_what_is_left_out_gets_the_guides_defaults():
    request = GenerateBody.model_validate(GOOD).to_request(reference_limit=8)

    assert (request.prompt, request.aspect_ratio, request.model) == ("Generate a video", "16:9", "veo3_fast")
    assert (request.generation_type, request.resolution, request.duration) == ("REFERENCE_2_VIDEO", "720p", 8)


@pytest.mark.parametrize("prompt", [None, ""])
def test_an_empty_prompt_gets_the_default(prompt):
    request = GenerateBody.model_validate(GOOD | {"prompt": prompt}).to_request(reference_limit=8)

    assert request.prompt == "Generate a video"


@pytest.mark.parametrize("wallet", [None, ""])
def test_an_empty_wallet_is_a_missing_one(wallet):
    assert refused(wallet_address=wallet) == ("wallet_address", "wallet_address required")


def test_a_wallet_is_required():
    assert refusal(without("wallet_address")) == ("wallet_address", "wallet_address required")


@pytest.mark.parametrize("wallet", [" ", "a b", "ä", "a\n", "x" * 129, "a\x00", "\ud800", 7, ["a"], {"a": 1}, True])
def test_a_wallet_is_visible_ascii(wallet):
    assert refused(wallet_address=wallet) == ("wallet_address", WALLET)


@pytest.mark.parametrize("images", [None, [], "", "https://x/y", 7, {"0": IMAGE}])
def test_images_are_required(images):
    assert refused(image_urls=images) == ("image_urls", "image_urls required (1-8 images)")


def test_images_are_required_when_left_out():
    assert refusal(without("image_urls")) == ("image_urls", "image_urls required (1-8 images)")


def test_nine_images_are_too_many():
    assert refused(image_urls=[IMAGE] * 9) == ("image_urls", "Maximum 8 images allowed")


def test_eight_images_are_not():
    assert refused(image_urls=[IMAGE] * 8) is None


def test_the_vendors_limit_of_references_can_be_kept():
    assert refusal(GOOD | {"image_urls": [IMAGE] * 4}, reference_limit=3) == ("image_urls", "Maximum 3 images allowed")


def test_two_images_with_veo3_are_frames():
    request = GenerateBody.model_validate(GOOD | {"model": "veo3", "image_urls": [IMAGE] * 2})

    assert request.to_request(reference_limit=8).generation_type == "FIRST_AND_LAST_FRAMES_2_VIDEO"


def test_three_images_with_veo3_are_too_many():
    field, sentence = refused(model="veo3", image_urls=[IMAGE] * 3)

    assert field == "image_urls"
    assert sentence.startswith("Maximum 2 images allowed with model veo3")


@pytest.mark.parametrize("images", [None, []])
def test_text_to_video_needs_no_images(images):
    assert refused(image_urls=images, generation_type="TEXT_2_VIDEO") is None


def test_text_to_video_takes_no_images():
    assert refused(generation_type="TEXT_2_VIDEO")[0] == "image_urls"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0x7f.1",
        "2130706433",
        "017700000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "10.0.0.1",
        "10.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "255.255.255.255",
        "[::1]",
        "[::]",
        "[::ffff:10.0.0.1]",
        "[::ffff:7f00:1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fd00::1]",
        "localhost",
        "LOCALHOST",
        "localhost.",
        "a.localhost",
        "printer.local",
        "metadata.google.internal",
        "127.0.0.1.",
        "127.0.0.1:8080",
    ],
)
def test_private_and_local_addresses_are_refused(host):
    assert refused(image_urls=[f"http://{host}/a.png"]) == ("image_urls[0]", PUBLIC)


@pytest.mark.parametrize("host", ["１２７.0.0.1", "①②⑦.0.0.1", "ⓛocalhost", "127。0。0。1"])  # noqa: RUF001
def test_a_private_address_in_other_shapes_of_letters_is_refused(host):
    assert refused(image_urls=[f"http://{host}/a.png"]) == ("image_urls[0]", PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "https://images.example/a.png",
        "http://images.example:8080/a.png?x=1&y=2#z",
        "https://8.8.8.8/a.png",
        "https://[2606:4700::1111]/a.png",
        "https://bücher.example/ä.png",
        "HTTPS://IMAGES.EXAMPLE/A.PNG",
        "https://localhost.example/a.png",
        "https://10.0.0.1.example/a.png",
    ],
)
def test_public_addresses_are_taken(url):
    assert refused(image_urls=[url]) is None


@pytest.mark.parametrize(
    "host", ["user@images.example", "user:pw@images.example", ":pw@images.example", "@images.example"]
)
def test_user_names_in_urls_are_refused(host):
    assert refused(image_urls=[f"https://{host}/a.png"]) == ("image_urls[0]", USER)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://images.example/a.png",
        "data:image/png;base64,AAAA",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "//images.example/a.png",
        "images.example/a.png",
        "https://",
        "https:///a.png",
        "",
        "https://images.example/a b.png",
        "https://images.example/a\n.png",
        "https://images.example/a\x00.png",
        "https://images.example/\ud800.png",
        "https://images.example/" + "a" * 2048,
    ],
)
def test_what_is_no_http_url_is_refused(url):
    assert refused(image_urls=[url]) == ("image_urls[0]", HTTP)


@pytest.mark.parametrize("url", ["http://[::1", "http://images.example:99999/", "http://images.example:x/"])
def test_a_url_that_cannot_be_read_is_refused(url):
    assert refused(image_urls=[url])[1] == "image_urls must be http(s) URLs: this one cannot be read"


def test_the_bad_image_is_named_by_its_place():
    assert refused(image_urls=[IMAGE, IMAGE, "ftp://x/y"])[0] == "image_urls[2]"


@pytest.mark.parametrize("value", [7, None, ["x"], {"url": IMAGE}])
def test_an_image_that_is_no_text_is_refused(value):
    assert refused(image_urls=[value]) == ("image_urls[0]", "image_urls[0] must be a string")


@pytest.mark.parametrize("ratio", ["square", "1:1", "", None, 7, ["16:9"], {}])
def test_an_unknown_ratio_is_refused_with_the_known_ones(ratio):
    expected = ("aspect_ratio", "aspect_ratio must be landscape, portrait, 16:9, 9:16 or auto")

    assert refused(aspect_ratio=ratio) == expected


@pytest.mark.parametrize(
    ("ratio", "sent"),
    [
        ("landscape", "16:9"),
        ("portrait", "9:16"),
        ("16:9", "16:9"),
        ("9:16", "9:16"),
        ("auto", "Auto"),
        ("Auto", "Auto"),
    ],
)
def test_the_guides_ratios_become_the_vendors(ratio, sent):
    assert GenerateBody.model_validate(GOOD | {"aspect_ratio": ratio}).aspect_ratio == sent


@pytest.mark.parametrize(
    ("changes", "field", "sentence"),
    [
        ({"model": "veo4"}, "model", "model must be veo3_fast, veo3 or veo3_lite"),
        ({"model": 3}, "model", "model must be veo3_fast, veo3 or veo3_lite"),
        ({"resolution": "8k"}, "resolution", "resolution must be 720p, 1080p or 4k"),
        ({"duration": 5}, "duration", "duration must be 4, 6 or 8"),
        ({"duration": "8"}, "duration", "duration must be 4, 6 or 8"),
        ({"duration": float("nan")}, "duration", "duration must be 4, 6 or 8"),
        ({"prompt": "x" * 5001}, "prompt", "prompt must be at most 5000 characters"),
        ({"prompt": 7}, "prompt", "prompt must be a string"),
        ({"prompt": "a\x00b"}, "prompt", "text must not contain the NUL character"),
        ({"prompt": "\ud800"}, "prompt", "prompt must be valid Unicode"),
        ({"watermark": ""}, "watermark", "watermark must not be empty"),
        ({"watermark": "x" * 101}, "watermark", "watermark must be at most 100 characters"),
        ({"watermark": "a\x00b"}, "watermark", "text must not contain the NUL character"),
        (
            {"client_reference_id": "x" * 256},
            "client_reference_id",
            "client_reference_id must be at most 255 characters",
        ),
        ({"metadata": []}, "metadata", "metadata must be a JSON object"),
        ({"metadata": "x"}, "metadata", "metadata must be a JSON object"),
        ({"metadata": {"x": float("nan")}}, "metadata", "metadata must be plain JSON"),
        ({"metadata": {"x": float("inf")}}, "metadata", "metadata must be plain JSON"),
        ({"metadata": {"x": "\ud800"}}, "metadata", "metadata must be plain JSON"),
        ({"metadata": {"\ud800": 1}}, "metadata", "metadata must be plain JSON"),
        ({"metadata": {"x": "a\x00b"}}, "metadata", "metadata must not contain the NUL character"),
        ({"metadata": {"a\x00b": 1}}, "metadata", "metadata must not contain the NUL character"),
        ({"metadata": {"x": "y" * 16384}}, "metadata", "metadata must be at most 16384 bytes of JSON"),
    ],
)
def test_every_refusal_names_the_field_and_the_fix(changes, field, sentence):
    found = refused(**changes)

    assert found[0] == field
    assert found[1].replace("text must", f"{field} must") == sentence.replace("text must", f"{field} must")


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"x": value}
    return value


def test_metadata_too_deep_to_store_is_refused():
    assert refused(metadata=nested(100_000))[0] == "metadata"


@pytest.mark.parametrize(
    "value", [{}, {"a": [1, 2.5, None, True]}, {"x": "ü 漢"}, {"path": "C:\\u0000\\temp"}, nested(50)]
)
def test_plain_metadata_is_taken(value):
    assert refused(metadata=value) is None


def test_a_field_nobody_knows_is_ignored_as_in_the_guide():
    assert refused(user_id="u", callback=1) is None


@pytest.mark.parametrize("body", [[], "text", 7, None])
def test_a_body_that_is_no_object_is_refused(body):
    assert refusal(body) == (None, "The body must be a JSON object")


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({}, "taskId required"),
        ({"taskId": ""}, "taskId required"),
        ({"taskId": None}, "taskId required"),
        ({"taskId": 7}, "taskId must be a string"),
        ({"taskId": "x" * 129}, "taskId must be at most 128 characters"),
    ],
)
def test_a_question_names_its_task(body, sentence):
    assert refusal(body, ManualCallbackBody) == ("taskId", sentence)
