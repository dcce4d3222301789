//! The house rules, as tests: who may depend on whom, how long a file may be, that every setting is
//! documented and has an effect, that every guard has its patch, and that lists in documents are lists.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file at most.
const LINES_MAX: usize = 500;

/// The arrows: a member, and the members it may depend on.
const ARROWS: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("contract", &["domain"]),
    ("stock", &["domain", "contract"]),
    ("messaging", &["domain", "contract"]),
    ("service-kit", &["domain", "contract"]),
    ("parts", &["domain", "stock", "messaging", "service-kit"]),
    ("gateway", &["domain", "contract", "stock", "messaging", "service-kit", "parts"]),
    ("inventory", &["domain", "contract", "stock", "messaging", "service-kit", "parts"]),
    ("order", &["domain", "contract", "messaging", "service-kit", "parts"]),
    ("notify", &["domain", "contract", "messaging", "service-kit", "parts"]),
    (
        "seckill",
        &[
            "domain",
            "contract",
            "stock",
            "messaging",
            "service-kit",
            "parts",
            "gateway",
            "inventory",
            "order",
            "notify",
        ],
    ),
    ("loadtest", &["contract"]),
    ("xtask", &[]),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.as_ref().display()))
}

/// Every file below the source folders whose name ends so.
fn files(ending: &str) -> Vec<PathBuf> {
    files_below(&["crates", "services", "loadtest", "xtask", "static-cdn"], ending)
}

fn files_below(folders: &[&str], ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = folders.iter().map(|f| root().join(f)).collect();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).expect("the folder can be read");
        for entry in entries.map(|e| e.expect("the entry can be read").path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else if entry.to_string_lossy().ends_with(ending) {
                found.push(entry);
            }
        }
    }
    found
}

#[test]
fn dependencies_point_the_way_the_design_says() {
    let allowed: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let workspace: toml::Table = read(root().join("Cargo.toml")).parse().unwrap();
    let members = workspace["workspace"]["members"].as_array().unwrap();
    assert_eq!(members.len(), allowed.len(), "every member has its arrows");
    for member in members {
        let manifest: toml::Table =
            read(root().join(member.as_str().unwrap()).join("Cargo.toml")).parse().unwrap();
        let name = manifest["package"]["name"].as_str().unwrap();
        let mut sections: Vec<_> = ["dependencies", "build-dependencies"].to_vec();
        // Tests of the whole may reach down to adapters; tests of a service may not reach sideways.
        sections.push("dev-dependencies");
        for section in sections {
            let Some(dependencies) = manifest.get(section).and_then(|d| d.as_table()) else { continue };
            for dependency in dependencies.keys().filter(|d| allowed.contains_key(d.as_str())) {
                let fine = allowed[name].contains(&dependency.as_str())
                    // A contract suite's own tests, and services' tests against the real adapters.
                    || (section == "dev-dependencies"
                        && (dependency == name || ["stock", "messaging"].contains(&dependency.as_str())));
                assert!(fine, "{name} must not depend on {dependency} ({section})");
            }
        }
    }
}

#[test]
fn the_domain_knows_no_wire_and_no_runtime() {
    let manifest = read(root().join("crates/domain/Cargo.toml"));
    for banned in ["serde", "tokio", "sqlx", "axum"] {
        assert!(!manifest.contains(banned), "domain must not know {banned}");
    }
}

#[test]
fn files_are_one_idea_long() {
    for ending in [".rs", ".js", ".mjs", ".css"] {
        for file in files(ending).iter().filter(|f| !f.ends_with("shop.css")) {
            let lines = read(file).lines().count();
            assert!(lines <= LINES_MAX, "{} has {lines} lines", file.display());
        }
    }
}

#[test]
fn unsafe_code_stands_in_one_file() {
    let allows = |file: &PathBuf| read(file).contains("(unsafe_code");
    let allowed: BTreeSet<_> = files(".rs").into_iter().filter(allows).collect();
    let this = root().join("xtask/tests/house.rs");
    let one = root().join("crates/service-kit/src/http/server/batch.rs");
    assert_eq!(allowed, BTreeSet::from([one, this]));
}

#[test]
fn every_setting_is_documented_and_has_an_effect() {
    let defaults = read(root().join("crates/service-kit/src/settings/default.env"));
    let documented: BTreeSet<_> = defaults
        .lines()
        .filter(|l| l.starts_with("SECKILL_"))
        .filter_map(|l| l.split_once('='))
        .map(|(n, _)| n.to_owned())
        .collect();
    let mut used = BTreeSet::new();
    let sources = files(".rs").into_iter().filter(|f| {
        let path = f.to_string_lossy();
        // Tests set settings, and variables of other programs; only what ships reads them.
        let ships = !path.contains("/xtask/") && !path.contains("/loadtest/") && !path.contains("/tests/");
        ships && !path.ends_with("settings/mod.rs")
    });
    for file in sources {
        let text = read(&file);
        for part in text.split("\"SECKILL_").skip(1) {
            let name: String = part
                .chars()
                .take_while(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || *c == '_')
                .collect();
            used.insert(format!("SECKILL_{name}"));
        }
    }
    let without_effect: Vec<_> = documented.difference(&used).collect();
    assert!(without_effect.is_empty(), "documented but never read: {without_effect:?}");
    let undocumented: Vec<_> = used.difference(&documented).filter(|n| *n != "SECKILL_").collect();
    assert!(undocumented.is_empty(), "read but not in default.env: {undocumented:?}");
}

#[test]
fn every_guard_has_a_patch_of_one_line_and_every_patch_a_guard() {
    let folder = root().join("xtask/guards");
    let index: toml::Table = read(folder.join("guards.toml")).parse().unwrap();
    let of = |table: &str, field: &str| -> BTreeSet<String> {
        let all = index[table].as_array().unwrap().iter();
        all.map(|entry| entry[field].as_str().unwrap().to_owned()).collect()
    };
    let patches = |names: BTreeSet<String>| -> BTreeSet<String> {
        names.into_iter().map(|name| format!("{name}.patch")).collect()
    };
    let (of_tests, of_storms) = (patches(of("guard", "name")), patches(of("storm", "guard")));
    let named = &of_tests | &of_storms;
    let faults = read(root().join("xtask/src/faults/catalogue.rs"));
    for fault in of("storm", "fault") {
        assert!(faults.contains(&format!("name: \"{fault}\"")), "{fault} is no fault");
    }
    let there: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .filter(|n| n.ends_with(".patch"))
        .collect();
    assert_eq!(named, there);
    for patch in &there {
        let text = read(folder.join(patch));
        let removed = text.lines().filter(|l| l.starts_with('-') && !l.starts_with("---")).count();
        // Against a storm a rule is taken out as a whole, with what stands behind it as a second line of defence.
        let most = if of_tests.contains(patch) { 1 } else { 3 };
        assert!((1..=most).contains(&removed), "{patch} takes out {removed} lines");
        assert!(
            text.contains("+++ b/") && !text.contains("/tests/"),
            "{patch} must change shipped code only"
        );
        assert!(applies(&text), "{patch} is of older code: the guard is not there to be removed");
    }
}

/// Decisions end with the guards that hold them: a guard that was renamed would be looked for in vain.
#[test]
fn every_guard_that_a_decision_names_is_there() {
    let index: toml::Table = read(root().join("xtask/guards/guards.toml")).parse().unwrap();
    let guards = index["guard"].as_array().unwrap().iter().map(|guard| guard["name"].as_str().unwrap());
    let guards: BTreeSet<&str> = guards.collect();
    let mut named = 0;
    for file in files_below(&["docs/decisions"], ".md") {
        let text = read(&file);
        let Some((_, list)) = text.split_once("\nGuards: ") else { continue };
        let list = list.split_once('.').map_or(list, |(list, _)| list);
        for name in list.split('`').skip(1).step_by(2) {
            assert!(guards.contains(name), "{} names {name}", file.display());
            named += 1;
        }
    }
    assert!(named > 0, "no decision names a guard: the lists look different now");
}

/// The first line with an item of a list that does not begin there: a task, or the number after that of the item which
/// the line is part of. What reflows a text glues them together, and then they are shown as one.
fn glued_item(text: &str) -> Option<&str> {
    let (mut is_code, mut number) = (false, None);
    text.lines().find(|line| {
        let line = line.trim_start();
        is_code ^= line.starts_with("```");
        if is_code || line.is_empty() {
            number = None;
            return false;
        }
        if let Some(n) = line.split_once(". ").and_then(|(n, _)| n.parse::<u32>().ok()) {
            number = Some(n);
        }
        let next = number.is_some_and(|n| line.contains(&format!(" {}. ", n + 1)));
        next || line.contains(" - [ ] ") || line.contains(" - [x] ")
    })
}

#[test]
fn an_item_of_a_list_begins_its_line() {
    for glued in ["- [ ] One. - [ ] Two.", "1. One. 2. Two.", "3. It goes\n   on, and 4. Four.\n"] {
        assert!(glued_item(glued).is_some(), "{glued}");
    }
    for fine in [
        "- [ ] One.\n- [ ] Two.",
        "1. One\n   of 3.\n2. Two.",
        "It exits with 0. Exit code\n   1. of these is bad.",
        "```\n1. a 2. b\n```",
    ] {
        assert_eq!(glued_item(fine), None, "{fine}");
    }
    let mut documents = files(".md");
    documents.extend(files_below(&["docs", "infra"], ".md"));
    let at_root = fs::read_dir(root()).unwrap().map(|e| e.unwrap().path());
    documents.extend(at_root.filter(|path| path.extension().is_some_and(|e| e == "md")));
    for document in documents {
        let text = read(&document);
        assert_eq!(glued_item(&text), None, "{}: an item does not begin its line", document.display());
    }
}

/// Whether each hunk's old lines stand in the file that they are to be found in.
fn applies(patch: &str) -> bool {
    let mut parts = patch.split("\n+++ b/").skip(1);
    parts.all(|part| {
        let (file, hunks) = part.split_once('\n').unwrap_or_default();
        let source = read(root().join(file));
        hunks.split("@@ -").skip(1).all(|hunk| {
            let lines = hunk
                .lines()
                .skip(1)
                .filter(|line| !line.starts_with(['+', '\\']) && !line.starts_with("---"));
            let old: Vec<&str> = lines.map(|line| line.get(1..).unwrap_or("")).collect();
            source.contains(&format!("{}\n", old.join("\n")))
        })
    })
}
