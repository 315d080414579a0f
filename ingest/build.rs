//! Lists the console's files, so that a new file in `console/` needs no other change.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn collect(folder: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=console");
    println!("cargo::rerun-if-changed=build.rs");
    let root =
        PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or(io::ErrorKind::NotFound)?).join("console");
    let mut found = Vec::new();
    collect(&root, &mut found)?;
    found.sort();
    let mut code =
        String::from("/// Path under `/console/` and content.\nstatic FILES: &[(&str, &[u8])] = &[\n");
    for path in found {
        let name = path.strip_prefix(&root).map_err(io::Error::other)?;
        let name: Vec<String> = name.iter().map(|part| part.to_string_lossy().into_owned()).collect();
        let name = name.join("/");
        // Not the absolute path: a build folder that is shared between two clones would keep the other's.
        writeln!(
            code,
            "    ({name:?}, include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), {:?}))),",
            format!("/console/{name}")
        )
        .map_err(io::Error::other)?;
    }
    code.push_str("];\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    fs::write(out.join("console_files.rs"), code)
}
