"""Chromium, for the trial of delivery."""

from tests.browser.conftest import browser as browser
