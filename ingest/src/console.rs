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
    /// The files, with the tile URL of the configuration in the page.
    pub fn new(tiles: Option<&str>) -> Self {
        let mut assets = BTreeMap::new();
        for &(path, bytes) in FILES {
            let bytes: Cow<'static, [u8]> = match tiles {
                Some(tiles) if path == "index.html" => with_tiles(bytes, tiles).into(),
                _ => bytes.into(),
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

/// Puts the tile URL, which the configuration has checked to hold no quote, where the page expects it.
fn with_tiles(page: &[u8], tiles: &str) -> Vec<u8> {
    let (empty, name) = ("content=\"\"", "name=\"watchfire-tiles\" ");
    let page = String::from_utf8_lossy(page);
    let url = tiles.replace('&', "&amp;");
    page.replacen(&format!("{name}{empty}"), &format!("{name}content=\"{url}\""), 1).into_bytes()
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
        let console = Console::new(None);
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
        let console = Console::new(Some(url));
        let page = console.get("index.html").unwrap();
        let text = String::from_utf8_lossy(&page.bytes);
        assert!(text.contains("content=\"https://tiles.example/{z}/{x}/{y}.png?a=1&amp;b=2\""), "{text}");
        assert_ne!(page.etag, Console::new(None).get("index.html").unwrap().etag);
    }
}
