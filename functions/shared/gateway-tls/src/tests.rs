use std::{fs, path::PathBuf};

use super::*;

/// A file of this process's own with this text.
fn file(name: &str, text: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("{name}-{}.pem", std::process::id()));
    fs::write(&path, text).unwrap();
    path
}

#[test]
fn amazon_s_roots_and_those_of_providers_come_with_the_binary() {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for name in
        ["Amazon Root CA 1", "Amazon Root CA 2", "Amazon Root CA 3", "Amazon Root CA 4", "Starfield", "GTS Root R1"]
    {
        let found = roots.roots.iter().any(|root| root.subject.windows(name.len()).any(|part| part == name.as_bytes()));
        assert!(found, "{name}");
    }
}

#[test]
fn certificates_of_one_s_own_are_read_and_what_is_none_is_told() {
    let own = rcgen::generate_simple_self_signed(["provider.internal".to_owned()]).unwrap().cert.pem();
    let path = file("own-roots", &format!("# ours\n{own}{own}"));
    let read = certificates(&path).unwrap();
    assert_eq!(read.len(), 2);
    let mut roots = RootCertStore::empty();
    assert_eq!(roots.add_parsable_certificates(read), (2, 0));
    fs::remove_file(&path).unwrap();
    assert!(certificates(&path).is_err());
    let broken = file("broken-roots", "-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n");
    assert!(certificates(&broken).is_err());
    fs::remove_file(&broken).unwrap();
}
