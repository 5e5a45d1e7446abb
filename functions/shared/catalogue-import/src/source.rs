//! Where the data lies: inside the package `genai-prices` that cargo has fetched for this workspace.

use std::{path::PathBuf, process::Command};

use serde::Deserialize;

use crate::ImportError;

/// The data file's text and the version of the package that ships it.
pub struct Source {
    /// The text.
    pub data: String,
    /// The version.
    pub version: String,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    manifest_path: PathBuf,
}

/// The catalogue's file in this checkout.
pub fn catalogue_file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../gateway-core/src/catalogue/models.tsv")
}

/// Finds and reads the data file.
pub fn read() -> Result<Source, ImportError> {
    let failed = |what: &dyn std::fmt::Display| ImportError::Source(what.to_string());
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--manifest-path", manifest])
        .output()
        .map_err(|error| failed(&error))?;
    if !output.status.success() {
        return Err(failed(&String::from_utf8_lossy(&output.stderr)));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)?;
    let package = metadata.packages.into_iter().find(|package| package.name == "genai-prices");
    let package = package.ok_or_else(|| failed(&"it is not among the workspace's packages"))?;
    let path = package.manifest_path.with_file_name("data").join("prices.json");
    let data = std::fs::read_to_string(&path).map_err(|error| failed(&format!("{}: {error}", path.display())))?;
    Ok(Source { data, version: package.version })
}
