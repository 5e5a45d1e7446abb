//! One name for a function's folder, package, binary, `CodeUri`, `FunctionName`, log group and events/<name>/; the name
//! in PascalCase and "Function" for its logical id.

use std::collections::BTreeSet;

use crate::{template::Template, tree};

/// `ChatCompletions` for `chat-completions`.
fn pascal_case(name: &str) -> String {
    name.split('-').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}

#[test]
fn the_template_has_the_functions_that_have_folders() {
    let in_template: BTreeSet<_> = Template::load().functions().into_iter().map(|function| function.name).collect();
    assert_eq!(in_template, tree::functions());
}

#[test]
fn every_function_s_folder_is_a_package_with_a_library_and_a_binary_of_its_name_linked_as_all_are() {
    let packages = tree::packages();
    for name in tree::functions() {
        let folder = format!("functions/{name}");
        let package = packages.iter().find(|package| package.folder == folder);
        let package = package.unwrap_or_else(|| panic!("{folder} is not a member of the workspace"));
        assert_eq!(package.name, name);
        let targets: BTreeSet<_> = package.targets.iter().map(|(kind, name)| (kind.as_str(), name.as_str())).collect();
        let lib = name.replace('-', "_");
        // functions/build.rs, which says how each binary is linked.
        let build = ("custom-build", "build-script-build");
        assert_eq!(targets, BTreeSet::from([build, ("bin", &name), ("lib", &lib)]), "{folder}");
    }
}

#[test]
fn every_package_of_the_workspace_has_a_place_in_the_layout() {
    let shared = tree::folders("functions/shared").into_iter().map(|name| format!("functions/shared/{name}"));
    let functions = tree::functions().into_iter().map(|name| format!("functions/{name}"));
    let mut places: BTreeSet<_> = shared.chain(functions).collect();
    places.extend(["functions/local", "tests", "tests/bench/hello-world"].map(str::to_owned));
    let members: BTreeSet<_> = tree::packages().into_iter().map(|package| package.folder).collect();
    assert_eq!(members, places);
    // Cargo takes in what a member depends on, listed or not; but the list is the table of contents.
    let manifest = tree::read("Cargo.toml");
    for place in places {
        assert!(manifest.contains(&format!("\n    \"{place}\",\n")), "Cargo.toml does not list {place}");
    }
}

#[test]
fn every_function_has_events_and_no_events_are_left_over() {
    assert_eq!(tree::folders("events"), tree::functions());
    for function in Template::load().functions() {
        let (name, cases) = (&function.name, tree::files(&format!("events/{}", function.name)).len());
        // A clock's event says nothing that could be wrong.
        let least = if function.is_scheduled() { 1 } else { 2 };
        assert!(cases >= least, "events/{name} needs at least a case that goes well and one that does not");
    }
}

#[test]
fn everything_in_the_template_that_names_a_function_uses_its_one_name() {
    let template = Template::load();
    for function in template.functions() {
        let name = &function.name;
        let logical_id = pascal_case(name);
        assert_eq!(function.logical_id, format!("{logical_id}Function"));
        assert_eq!(function.resource["Metadata"]["BuildMethod"], "rust-cargolambda", "{name}");
        assert_eq!(function.resource["Metadata"]["BuildProperties"]["Binary"], name.as_str());
        let properties = function.properties();
        assert_eq!(properties["FunctionName"]["Sub"], format!("${{AWS::StackName}}-{name}"));
        let log_group = format!("{logical_id}LogGroup");
        assert_eq!(properties["LoggingConfig"]["LogGroup"]["Ref"], log_group.as_str(), "{name}");
        let log_group = template.properties(&log_group);
        assert_eq!(log_group["LogGroupName"]["Sub"], format!("/aws/lambda/${{AWS::StackName}}-{name}"));
        assert_eq!(log_group["RetentionInDays"]["Ref"], "LogRetentionDays", "{name}");
    }
}
