"""Making videos on the console's page."""

import asyncio

import pytest
from fault_proxy import Toward
from selenium.webdriver.common.keys import Keys


@pytest.fixture
async def studio(page, stack, wallet):
    """The page of somebody who signed in."""
    await page.sign_in(stack.env["API_KEY"], wallet=wallet)
    return page


async def create(page, prompt):
    await page.write("What shall it show?", prompt)
    await page.click("button", "Create video")


async def test_a_video_is_made_watched_and_played(studio, jobs_of):
    await studio.says("4 credits")
    await create(studio, "A paper boat in the rain")

    await studio.says("Being made")
    video = await studio.find("video", "The video")
    await studio.browser.run("arguments[0].play()", video)

    await studio.until("arguments[0].currentTime > 0", video)
    await studio.says("996 credits")
    await studio.tells("Your video is ready.")
    assert [job["status"] for job in await jobs_of()] == ["completed"]


async def test_a_failure_tells_the_reason_what_to_do_and_that_the_credits_are_back(studio):
    await create(studio, "Something sim:policy")

    await studio.says(
        "There is no video",
        "Your prompt was flagged by Website as violating content policies.",
        "change the prompt",
        "4 credits were given back.",
    )
    await studio.says("1,000 credits")
    await studio.tells("4 credits were given back.")


async def test_a_double_click_makes_one_job(studio, jobs_of):
    await studio.write("What shall it show?", "A clock")
    button = await studio.find("button", "Create video")

    await studio.browser.run("const [b] = arguments; b.click(); b.click()", button)
    await studio.find("heading", "A clock")
    await studio.browser.run("arguments[0].click()", button)  # the other half comes after the answer
    await studio.find("video", "The video")

    assert len(await jobs_of()) == 1


async def test_the_same_can_be_made_again(studio, jobs_of, eventually):
    await create(studio, "A clock")
    await studio.find("video", "The video")
    await studio.browser.run("performance.now = () => 1e9")  # a minute later

    await studio.click("button", "Create video")

    async def are_two():
        return len(await jobs_of()) == 2

    await eventually(are_two)


async def test_when_the_answer_is_lost_sending_again_makes_no_second_job(
    page_of, stack, line, wallet, jobs_of, eventually
):
    page = await page_of(f"http://127.0.0.1:{line.port}")
    await page.sign_in(stack.env["API_KEY"], wallet=wallet)
    await page.says("4 credits")
    trap = line.trap(b"POST /api/video/generate", Toward.SERVER, stops=Toward.CLIENT)
    await create(page, "A clock")
    await trap.sprung.wait()
    await eventually(jobs_of)
    line.refuse()  # a cut alone the browser mends by itself, by sending it again
    await page.says("sending it again makes no second video")
    await line.heal()

    await page.click("button", "Create video")
    await page.find("video", "The video")

    assert len(await jobs_of()) == 1


async def test_where_streams_do_not_get_through_it_asks_instead(page_of, stack, line, wallet):
    page = await page_of(f"http://127.0.0.1:{line.port}")
    await page.sign_in(stack.env["API_KEY"], wallet=wallet)
    # What stands between says no to every stream, as some proxies do.
    await page.browser.run(
        """
        const real = fetch;
        window.fetch = (path, ...rest) =>
          path.endsWith("/events") ? Promise.resolve(new Response("", { status: 502 })) : real(path, ...rest);
        """
    )
    await create(page, "A clock")

    await page.find("video", "The video")


async def test_what_is_wrong_is_said_at_the_field_which_gets_the_focus(studio, jobs_of):
    await studio.click("button", "Create video")
    await studio.says("Say what the video shall show.")

    await studio.press("A clock")
    await studio.click("button", "Create video")
    await studio.find("video", "The video")

    assert [job["prompt"] for job in await jobs_of()] == ["A clock"]


async def test_a_hostile_prompt_is_shown_as_the_text_it_is(studio, stack, api, wallet):
    prompt = "<img src=x onerror=\"document.title='had'\"><script>document.title='had'</script> \u202e <b>bold</b>"
    job_id = await stack.create(api, prompt, wallet)

    await studio.open(f"#/videos/{job_id}")
    heading = await studio.find("heading", prompt.strip())
    shown = await asyncio.to_thread(lambda: heading.get_attribute("textContent"))
    injected = await studio.browser.run("return document.querySelectorAll('main b, main script, main img').length")

    assert (shown, injected) == (prompt, 0)
    assert await studio.browser.run("return document.title") == "Create · Reelgate"


async def test_a_video_address_that_is_a_script_is_no_link(studio, stack, api, wallet):
    job_id = await stack.create(api, "A clock", wallet)
    await stack.reached(job_id, "completed")
    await stack.sql("UPDATE video_jobs SET video_url = 'javascript:alert(1)' WHERE id = $1::text::uuid", job_id)

    await studio.open(f"#/videos/{job_id}")

    await studio.says("The address of this video cannot be used.")


async def test_a_video_that_is_gone_says_so(studio, stack, api, wallet):
    job_id = await stack.create(api, "A clock", wallet)
    await stack.reached(job_id, "completed")
    await stack.sql(
        "UPDATE video_jobs SET video_url = $2 WHERE id = $1::text::uuid",
        job_id,
        stack.env["SIMULATOR_URL"] + "/media/no",
    )

    await studio.open(f"#/videos/{job_id}")

    await studio.says("The video does not load.")


async def test_images_come_from_files_and_from_addresses(studio, tmp_path, jobs_of, one_pixel):
    file = tmp_path / "dot.png"
    file.write_bytes(one_pixel)
    chooser = await asyncio.to_thread(lambda: studio.driver.find_element("id", "files"))
    await asyncio.to_thread(chooser.send_keys, str(file))
    await studio.tells("dot.png was uploaded")
    await studio.write("Address of an image", "https://images.example/cat.png" + Keys.ENTER)
    await studio.find("button", "Remove https://images.example/cat.png")

    await create(studio, "A clock")
    await studio.find("heading", "A clock")

    [job] = await jobs_of()
    assert (job["generation_type"], len(job["image_urls"]) > 2) == ("REFERENCE_2_VIDEO", True)
    assert "https://images.example/cat.png" in job["image_urls"]


async def test_a_job_that_waits_can_be_canceled(studio, stack, jobs_of):
    stack.command("pause", "--reason", "a test")
    try:
        await create(studio, "A clock")
        await studio.click("button", "Cancel it")
        await studio.says("Canceled", "4 credits were given back.")
    finally:
        stack.command("resume")

    assert [job["status"] for job in await jobs_of()] == ["canceled"]


async def test_what_was_made_is_listed_newest_first_page_by_page(studio, stack, api, wallet):
    for number in range(26):
        await stack.create(api, f"Clock {number}", wallet)
    await studio.browser.reload()
    await studio.says("Clock 25")
    first = await studio.browser.run("return [...document.querySelectorAll('.card .prompt')].map((p) => p.textContent)")

    await studio.click("button", "Load more")
    await studio.says("Clock 0")
    every = await studio.browser.run("return [...document.querySelectorAll('.card .prompt')].map((p) => p.textContent)")

    assert first == [f"Clock {number}" for number in range(25, 1, -1)]
    assert every == [f"Clock {number}" for number in range(25, -1, -1)]


async def test_what_others_make_of_the_same_wallet_appears_by_itself(studio, stack, api, wallet):
    first = await stack.create(api, "First", wallet)
    await stack.reached(first, "completed")
    await studio.browser.reload()
    await studio.says("First")

    await stack.create(api, "Second sim:ok", wallet)

    await studio.says("Second sim:ok")
    assert await studio.browser.shows(".card .state.completed")


async def test_everything_can_be_done_by_keyboard(page, stack, wallet, jobs_of):
    await page.open()
    await page.press(stack.env["API_KEY"], Keys.ENTER)
    await page.find("link", "Create")
    await page.tab_to("Wallet address")
    await page.press(wallet, Keys.ENTER)
    await page.tab_to("What shall it show?")
    await page.press("A clock")
    await page.tab_to("Landscape")
    await page.press(Keys.ARROW_RIGHT)
    await page.tab_to("Create video")
    await page.press(Keys.ENTER)
    await page.find("video", "The video")
    await page.tab_to("The video")
    await page.press(Keys.SPACE)

    await page.until("document.querySelector('video[controls]').currentTime > 0")
    assert [(job["prompt"], job["aspect_ratio"]) for job in await jobs_of()] == [("A clock", "9:16")]


async def test_the_wallets_page_has_the_balance_and_every_movement(studio, stack, api, wallet):
    job_id = await stack.create(api, "Something sim:policy", wallet)
    await stack.reached(job_id, "failed")
    await stack.at_rest()

    await studio.open("#/wallet")

    text = await studio.says("1,000 credits", "Refund", "+4", "\u22124", "Welcome credits")
    assert text.index("Refund") < text.index("\u22124") < text.index("Welcome credits")
