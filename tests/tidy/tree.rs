//! The project's tree: its files, its functions' folders, its packages. Knows nothing of what is in the files.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

/// Not written by hand, or not ours.
const SKIPPED: [&str; 7] = [".git", "target", ".aws-sam", ".modelswitch", ".venv", "node_modules", "__pycache__"];

/// The folders of functions/ that are no function.
const NO_FUNCTION: [&str; 2] = ["shared", "local"];

/// The top of the project.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A file's text.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every file under `folder`, at any depth, relative to the top.
pub(crate) fn files(folder: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![root().join(folder)]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if SKIPPED.contains(&entry.file_name().to_str().unwrap()) {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path.strip_prefix(root()).unwrap().to_owned());
            }
        }
    }
    found.sort();
    found
}

/// Every Rust file under `folder` with its text.
pub(crate) fn rust_sources(folder: &str) -> Vec<(PathBuf, String)> {
    let rust = files(folder).into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    rust.map(|path| (path.clone(), read(path))).collect()
}

/// The Rust text under `folder`, without comments and what follows `#[cfg(test)]`.
pub(crate) fn code(folder: &str) -> String {
    let mut code = String::new();
    for (_, text) in rust_sources(folder) {
        let shipped = text.split("#[cfg(test)]").next().unwrap_or_default();
        for line in shipped.lines().filter(|line| !line.trim_start().starts_with("//")) {
            code.push_str(line);
            code.push('\n');
        }
    }
    code
}

/// The names of the folders directly under `folder`.
pub(crate) fn folders(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}")).flatten();
    entries.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name().into_string().unwrap()).collect()
}

/// The functions, by their folders.
pub(crate) fn functions() -> BTreeSet<String> {
    folders("functions").into_iter().filter(|name| !NO_FUNCTION.contains(&name.as_str())).collect()
}

/// A package of the workspace.
pub(crate) struct Package {
    pub(crate) name: String,
    /// Its folder, relative to the top.
    pub(crate) folder: String,
    /// What it depends on, for whatever purpose.
    pub(crate) dependencies: BTreeSet<String>,
    /// Its targets as (kind, name).
    pub(crate) targets: BTreeSet<(String, String)>,
}

/// The workspace's packages, as cargo sees them.
pub(crate) fn packages() -> Vec<Package> {
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout).unwrap();
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

fn package(value: &Value) -> Package {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let list = |name: &str| value[name].as_array().unwrap().iter();
    let folder = Path::new(value["manifest_path"].as_str().unwrap()).parent().unwrap();
    Package {
        name: text(&value["name"]),
        folder: folder.strip_prefix(root()).unwrap().to_str().unwrap().to_owned(),
        dependencies: list("dependencies").map(|dependency| text(&dependency["name"])).collect(),
        targets: list("targets").map(|target| (text(&target["kind"][0]), text(&target["name"]))).collect(),
    }
}
