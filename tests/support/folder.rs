//! A folder that a test has to itself and that goes with it.

use std::path::PathBuf;

/// A fresh folder in the system's place for temporary files.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes it.
    #[expect(clippy::new_without_default, reason = "it makes a folder, which no default should")]
    pub fn new() -> Self {
        let path = std::env::temp_dir().join(crate::gateway::made_up("modelswitch-"));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// The path of a file in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The bytes of all its files, as text.
    pub fn contents(&self) -> String {
        let files = std::fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path());
        files.map(|file| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A test that fails keeps its message, whatever happens to its files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
