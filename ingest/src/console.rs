//! The console's files, built into the binary: no build step, nothing to install, works offline.

use std::borrow::Cow;
use std::collections::BTreeMap;

include!(concat!(env!("OUT_DIR"), "/console_files.rs"));

/// One file as it is served.
#[derive(Debug)]
pub struct Asset {
    /// Its content.
    pub bytes: Cow<'static, [u8]>,
    /// Its media type.
    pub media_type: &'static str,
    /// Changes with the content, quotes included.
    pub etag: String,
}

/// All files by path under `/console/`.
#[derive(Debug)]
pub struct Console(BTreeMap<&'static str, Asset>);

impl Console {
    /// The files. The page says the tile URL of the configuration, whether there is an office of seals, and the origin to
    /// which passkeys are bound.
    pub fn new(tiles: Option<&str>, has_office: bool, origin: Option<&str>) -> Self {
        let mut assets = BTreeMap::new();
        for &(path, bytes) in FILES {
            let bytes: Cow<'static, [u8]> = if path == "index.html" {
                page(bytes, tiles, has_office, origin).into()
            } else {
                bytes.into()
            };
            let etag = format!("\"{:08x}-{:x}\"", wire::frame::crc32c(&bytes), bytes.len());
            assets.insert(path, Asset { bytes, media_type: media_type(path), etag });
        }
        Self(assets)
    }

    /// A file; the page itself is `index.html`.
    pub fn get(&self, path: &str) -> Option<&Asset> {
        self.0.get(path)
    }

    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }
}

/// Puts what it is told where the page expects it. The configuration has checked that tile URL and origin hold no quote.
fn page(bytes: &[u8], tiles: Option<&str>, has_office: bool, origin: Option<&str>) -> Vec<u8> {
    let mut page = String::from_utf8_lossy(bytes).into_owned();
    let tiles = tiles.unwrap_or_default().replace('&', "&amp;");
    let office = if has_office { "yes" } else { "" };
    for (name, value) in
        [("tiles", tiles.as_str()), ("office", office), ("origin", origin.unwrap_or_default())]
    {
        let name = format!("name=\"watchfire-{name}\" ");
        page = page.replacen(&format!("{name}content=\"\""), &format!("{name}content=\"{value}\""), 1);
    }
    page.into_bytes()
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("webp") => "image/webp",
        Some("woff2") => "font/woff2",
        Some("json") => "application/json",
        Some("webmanifest") => "application/manifest+json",
        Some("txt" | "md") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_type_and_a_tag() {
        let console = Console::new(None, false, None);
        assert!(console.get("index.html").is_some());
        for path in console.paths() {
            let asset = console.get(path).unwrap();
            assert_ne!(asset.media_type, "application/octet-stream", "{path}: add its type");
            assert!(!asset.bytes.is_empty(), "{path}");
        }
    }

    #[test]
    fn a_tile_url_reaches_the_page_and_changes_its_tag() {
        let url = "https://tiles.example/{z}/{x}/{y}.png?a=1&b=2";
        let console = Console::new(Some(url), false, None);
        let page = console.get("index.html").unwrap();
        let text = String::from_utf8_lossy(&page.bytes);
        assert!(text.contains("content=\"https://tiles.example/{z}/{x}/{y}.png?a=1&amp;b=2\""), "{text}");
        assert_ne!(page.etag, Console::new(None, false, None).get("index.html").unwrap().etag);
    }

    #[test]
    fn the_page_says_whether_there_is_an_office_and_where_passkeys_are_good() {
        let here = "https://seals.example";
        for (has_office, origin, office, said) in [(true, Some(here), "yes", here), (false, None, "", "")] {
            let console = Console::new(None, has_office, origin);
            let page = String::from_utf8_lossy(&console.get("index.html").unwrap().bytes).into_owned();
            for (name, said) in [("office", office), ("origin", said)] {
                assert!(page.contains(&format!("name=\"watchfire-{name}\" content=\"{said}\"")), "{page}");
            }
        }
    }
}
