//! `cargo run -p catalogue-import`: writes the catalogue's file and prints what it left out.

use std::{error::Error, io::Write};

fn main() -> Result<(), Box<dyn Error>> {
    let source = catalogue_import::source::read()?;
    let import = catalogue_import::import(&source.data, &source.version)?;
    std::fs::write(catalogue_import::source::catalogue_file(), &import.file)?;
    let mut out = std::io::stdout().lock();
    for line in &import.report {
        writeln!(out, "{line}")?;
    }
    let models = import.file.lines().filter(|line| !line.starts_with('#')).count();
    writeln!(out, "{models} models of genai-prices {} as of {}", source.version, catalogue_import::DATE)?;
    Ok(())
}
