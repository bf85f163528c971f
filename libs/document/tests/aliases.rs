//! Anchors, aliases and merge keys.
#![allow(clippy::unwrap_used)] // this file contains only tests

use signalbox_document::{FileErrors, Node, Problems, Value, read_tree};

fn read(text: &str) -> Result<Node, String> {
    let mut problems = Problems::default();
    let root = read_tree(text, "Test", &mut problems);
    problems.into_result(root).map_err(|errors: FileErrors| errors.to_string())
}

/// Writes a tree as JSON without quotes.
fn shown(node: &Node) -> String {
    match &node.value {
        Value::Scalar { text, .. } => text.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        Value::Map(entries) => {
            let member = |entry: &signalbox_document::Entry| format!("{}:{}", entry.key, shown(&entry.value));
            format!("{{{}}}", entries.iter().map(member).collect::<Vec<_>>().join(","))
        }
        Value::Invalid => "invalid".to_owned(),
    }
}

#[test]
fn alias_stands_for_the_value_with_its_anchor() {
    for (text, expected) in [
        ("a: &x 1\nb: *x\n", "{a:1,b:1}"),
        ("a: &x [1, {c: 2}]\nb: {d: *x}\n", "{a:[1,{c:2}],b:{d:[1,{c:2}]}}"),
        // The latest anchor of a name counts.
        ("- &x 1\n- *x\n- &x 2\n- *x\n", "[1,1,2,2]"),
        ("- &k name\n- *k : 1\n", "[name,{name:1}]"),
        ("a: &x {b: &y 1}\nc: *x\nd: *y\n", "{a:{b:1},c:{b:1},d:1}"),
    ] {
        assert_eq!(expected, shown(&read(text).unwrap()), "{text}");
    }
}

#[test]
fn merge_key_adds_what_the_mapping_lacks() {
    for (text, expected) in [
        ("a: &x {m: 1, n: 2}\nb: {<<: *x, n: 3, o: 4}\n", "{a:{m:1,n:2},b:{n:3,o:4,m:1}}"),
        ("- &x {m: 1}\n- &y {m: 2, n: 2}\n- {<<: [*x, *y]}\n", "[{m:1},{m:2,n:2},{m:1,n:2}]"),
        ("{<<: {m: 1}, m: 2}", "{m:2}"),
        ("{'<<': 1}", "{<<:1}"),
    ] {
        assert_eq!(expected, shown(&read(text).unwrap()), "{text}");
    }
    let expected = "line 1: [\"<<\"]: expected a mapping or a list of mappings to merge; write <<: *ANCHOR";
    assert_eq!(expected, read("{<<: 1}").unwrap_err());
    assert!(read("{<<: {a: 1}, <<: {b: 1}}").unwrap_err().contains("given twice"));
}

#[test]
fn aliases_without_an_end_or_a_target_are_problems() {
    let contains_itself = read("a: &x [1, *x]\n").unwrap_err();
    assert_eq!(
        "line 1: a[1]: the alias refers to a value that contains it; write the value out",
        contains_itself
    );
    assert!(read("a: *nobody\n").unwrap_err().contains("line 1"));
}

/// Each level has nine aliases of the one before.
#[test]
fn aliases_of_aliases_are_bounded() {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let aliases = vec![format!("*a{}", level - 1); 9].join(", ");
        text += &format!("a{level}: &a{level} [{aliases}]\n");
    }
    let error = read(&text).unwrap_err();
    assert!(error.contains("the aliases add more than 10000 values; write fewer"), "{error}");
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for level in 1..40 {
        deep += &format!("a{level}: &a{level} [*a{}]\n", level - 1);
    }
    let error = read(&deep).unwrap_err();
    assert!(error.contains("nests too deeply"), "{error}");
}

#[test]
fn memory_of_long_texts_is_bounded() {
    let message = "the anchors and aliases take more than 16 MiB; write fewer";
    let long = "y".repeat(100_000);
    let aliases = |count| vec!["*x"; count].join(", ");
    let few = format!("a: &x {long}\nb: [{}]\n", aliases(20));
    assert_eq!(21, shown(&read(&few).unwrap()).matches(&long).count());
    let many = format!("a: &x {long}\nb: [{}]\n", aliases(200));
    assert_eq!(format!("line 2: b[166]: {message}"), read(&many).unwrap_err());
    let keys = format!("a: &x {{{long}: 1}}\nb: [{}]\n", aliases(200));
    assert_eq!(format!("line 2: b[166]: {message}"), read(&keys).unwrap_err());
}

/// Each level with an anchor keeps what is below it.
#[test]
fn memory_of_nested_anchors_is_bounded() {
    let nested = |inner: &str, levels: usize| {
        let open: String = (0..levels).map(|level| format!("&a{level} [")).collect();
        format!("{open}{inner}{}", "]".repeat(levels))
    };
    assert!(read(&nested("x", 31)).is_ok());
    for inner in ["y".repeat(600_000), vec!["1"; 50_000].join(",")] {
        let error = read(&nested(&inner, 31)).unwrap_err();
        assert!(error.ends_with("the anchors and aliases take more than 16 MiB; write fewer"), "{error}");
    }
}
