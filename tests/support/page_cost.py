"""What each further result costs the page, when it has shown a session for hours.

In: nothing; a real Chromium, and made-up events. Out: milliseconds of the browser's main thread for
each further result, the longest that it was busy at once, and the page's memory; exit status 1 if
the median is above `MOST_MS` or the memory grows. Run: ``python tests/support/page_cost.py``.
"""

from __future__ import annotations

import statistics
import sys

from browser import chromium
from playwright.sync_api import sync_playwright
from told import Told, told

UTTERANCES = 4000  # three hours
FURTHER = 60
MOST_MS = 50.0

_LONGEST = """window.longest = 0;
new PerformanceObserver((list) => {
    for (const { duration } of list.getEntries())
        window.longest = Math.max(window.longest, duration);
}).observe({ type: "longtask" });"""


def main() -> int:
    """Measure; the exit status."""
    events = [*told(UTTERANCES + FURTHER)]
    known, later = events[: -2 * FURTHER], events[-2 * FURTHER :]
    with sync_playwright() as playwright, chromium(playwright) as browser:
        shown = Told(browser, known)
        page = shown.open()
        page.locator(".over-time .when").get_by_text(f"{UTTERANCES} utterances").wait_for()
        page.wait_for_timeout(3000)
        page.evaluate(_LONGEST)
        session = page.context.new_cdp_session(page)
        session.send("Performance.enable")

        def counted(name: str) -> float:
            """One of the browser's counters."""
            metrics = session.send("Performance.getMetrics")["metrics"]
            return float(next(one["value"] for one in metrics if one["name"] == name))

        def heap_mb() -> float:
            session.send("HeapProfiler.collectGarbage")
            return counted("JSHeapUsedSize") / 2**20

        first_mb = heap_mb()
        cost_ms = []
        for number in range(0, len(later), 2):
            before = counted("TaskDuration")
            shown.tell(*later[number : number + 2])
            page.wait_for_timeout(300)
            cost_ms.append(1000 * (counted("TaskDuration") - before))
            page.mouse.wheel(0, 400 if number % 4 else -400)
            page.wait_for_timeout(100)
        last_mb = heap_mb()
        longest = page.evaluate("window.longest")
    typical, worst = statistics.median(cost_ms), max(cost_ms)
    sys.stdout.write(
        f"with {UTTERANCES} utterances on the page, a result costs {typical:.0f} ms at the median, "
        f"{worst:.0f} ms at most; the page was busy for {longest:.0f} ms at once at most\n"
        f"memory: {first_mb:.1f} MB, after {FURTHER} results {last_mb:.1f} MB\n"
    )
    return int(typical > MOST_MS or last_mb > 1.1 * first_mb)


if __name__ == "__main__":
    raise SystemExit(main())
