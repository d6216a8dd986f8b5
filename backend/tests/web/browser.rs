//! A real browser without a screen, and what tests ask of its page.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headless_chrome::protocol::cdp::Emulation::{
    MediaFeature, SetDeviceMetricsOverride, SetEmulatedMedia,
};
use headless_chrome::protocol::cdp::Page::CaptureScreenshotFormatOption;
use headless_chrome::{Browser, LaunchOptions, Tab};
use serde_json::Value;

use super::stub::{SOON, Stub};

/// Where screenshots are left for people to look at.
const FOLDER: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/page");

pub(crate) struct Page {
    tab: Arc<Tab>,
    /// Ends with it.
    _browser: Browser,
}

impl Page {
    /// Opens the stub's page in a window of this size.
    pub(crate) fn open(stub: &Stub, width: u32, height: u32, dark: bool) -> Self {
        let options = LaunchOptions {
            // Tests run as root.
            sandbox: false,
            idle_browser_timeout: Duration::from_secs(60),
            args: [
                "--disable-dev-shm-usage",
                "--hide-scrollbars",
                "--lang=en-US",
            ]
            .map(OsStr::new)
            .to_vec(),
            ..LaunchOptions::default()
        };
        let browser = Browser::new(options).expect("chromium is needed: ci/packages.d/browser.txt");
        let tab = browser.new_tab().unwrap();
        tab.call_method(SetDeviceMetricsOverride {
            width,
            height,
            device_scale_factor: 1.0,
            mobile: false,
            scale: None,
            screen_width: None,
            screen_height: None,
            position_x: None,
            position_y: None,
            dont_set_visible_size: None,
            screen_orientation: None,
            viewport: None,
            display_feature: None,
            device_posture: None,
        })
        .unwrap();
        let scheme = if dark { "dark" } else { "light" };
        tab.call_method(SetEmulatedMedia {
            media: None,
            features: Some(vec![MediaFeature {
                name: "prefers-color-scheme".to_owned(),
                value: scheme.to_owned(),
            }]),
        })
        .unwrap();
        tab.navigate_to(&format!("http://{}/", stub.address))
            .unwrap();
        tab.wait_until_navigated().unwrap();
        Self {
            tab,
            _browser: browser,
        }
    }

    /// What an expression gives, as JSON.
    pub(crate) fn value(&self, expression: &str) -> Value {
        let wrapped = format!("JSON.stringify({expression})");
        let result = self.tab.evaluate(&wrapped, true);
        let result = result.unwrap_or_else(|error| panic!("{expression}: {error}"));
        match result.value {
            Some(Value::String(json)) => serde_json::from_str(&json).unwrap(),
            _ => Value::Null,
        }
    }

    /// Waits until a condition holds.
    pub(crate) fn wait_for(&self, condition: &str) {
        let start = Instant::now();
        while self.value(&format!("Boolean({condition})")) != true {
            assert!(start.elapsed() < 2 * SOON, "{condition} in {}", self.text());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// All text that can be seen.
    pub(crate) fn text(&self) -> String {
        let text = self.value("document.body.innerText");
        text.as_str().unwrap().replace('\u{a0}', " ")
    }

    pub(crate) fn press(&self, key: &str) {
        self.tab.press_key(key).unwrap();
    }

    pub(crate) fn type_in(&self, text: &str) {
        self.tab.type_str(text).unwrap();
    }

    /// Nothing lies over anything else, leaves its box, or is wider than the window. A picture of it is
    /// kept under this name.
    pub(crate) fn is_in_order(&self, name: &str) {
        let format = CaptureScreenshotFormatOption::Png;
        let png = self.tab.capture_screenshot(format, None, None, true);
        std::fs::create_dir_all(FOLDER).unwrap();
        std::fs::write(Path::new(FOLDER).join(name), png.unwrap()).unwrap();
        let faults = self.value(ORDER.trim_end().trim_end_matches(';'));
        assert_eq!(faults, serde_json::json!([]), "{name}");
    }
}

/// Pairs of boxes that overlap, and boxes that are outside of what they are in.
const ORDER: &str = include_str!("order.js");
