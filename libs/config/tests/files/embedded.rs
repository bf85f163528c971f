//! Configurations inside manifests and Helm values.

use signalbox_config::{Embedded, find};

use crate::support::HEAD;

const PLUGINS: &str = "plugins:\n- type: queue-scorer\n- type: nonsense\n";

fn found(text: &str) -> Vec<Embedded> {
    find(text).unwrap_or_else(|errors| panic!("{errors}"))
}

/// Returns `text` with `blanks` before each line.
fn indented(text: &str, blanks: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(blanks))).collect()
}

fn only_problem(text: &str) -> (String, String, bool) {
    let mut found = found(text);
    assert_eq!(1, found.len(), "{text}");
    let Embedded { path, read, has_own_lines } = found.remove(0);
    let problems = read.unwrap_err().to_string();
    let (place, _) = problems.split_once(": unknown plugin type").unwrap();
    (path, place.to_owned(), has_own_lines)
}

#[test]
fn configuration_itself_has_no_path() {
    let expected = (String::new(), "line 5: plugins[1]".to_owned(), false);
    assert_eq!(expected, only_problem(&format!("{HEAD}{PLUGINS}")));
    let misspelt = found("kind: EndpointPickerConfg\nplugins: []\n");
    assert!(misspelt[0].read.as_ref().unwrap_err().to_string().contains("unknown kind"));
    assert!(found("a: [")[0].read.as_ref().unwrap_err().to_string().contains("invalid YAML"));
}

#[test]
fn lines_of_a_block_are_those_of_the_file() {
    let block = indented(&format!("{HEAD}{PLUGINS}"), 4);
    let map = |start: &str| {
        format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  note: x\n  config.yaml: {start}\n{block}")
    };
    for start in ["|", "|-", "|+"] {
        let expected = ("data[\"config.yaml\"]".to_owned(), "line 10: plugins[1]".to_owned(), false);
        assert_eq!(expected, only_problem(&map(start)), "{start}");
    }
    let blank = map("|").replace("config.yaml: |\n", "config.yaml: |\n\n\n");
    assert_eq!("line 12: plugins[1]", only_problem(&blank).1);
    let after = format!("{}  last: y\nmetadata: {{ name: n }}\n", map("|"));
    assert_eq!("line 10: plugins[1]", only_problem(&after).1);
}

#[test]
fn quoted_text_has_its_own_lines() {
    let text = format!("{HEAD}{PLUGINS}").replace('\n', "\\n");
    let map = format!("kind: ConfigMap\nmetadata: {{ name: n }}\ndata:\n  a: \"{text}\"\n");
    assert_eq!(("data.a".to_owned(), "line 5: plugins[1]".to_owned(), true), only_problem(&map));
}

#[test]
fn mappings_lists_and_arguments_are_searched() {
    let config = format!("{HEAD}{PLUGINS}");
    let list = format!(
        "kind: List\nitems:\n- kind: Service\n- kind: ConfigMap\n  data:\n    b.yaml: |\n{}",
        indented(&config, 6)
    );
    let expected = ("items[1].data[\"b.yaml\"]".to_owned(), "line 11: plugins[1]".to_owned(), false);
    assert_eq!(expected, only_problem(&list));
    let values = format!("epp:\n  pluginsConfig:\n{}", indented(&config, 4));
    assert_eq!(
        ("epp.pluginsConfig".to_owned(), "line 7: plugins[1]".to_owned(), false),
        only_problem(&values)
    );
    let deployment = format!("kind: Deployment\nargs:\n- --config-text\n- |\n{}", indented(&config, 2));
    assert_eq!("args[1]", only_problem(&deployment).0);
    let json = r#"{"data": {"c.json": "{\"kind\": \"EndpointPickerConfig\", \"apiVersion\": \"llm-d.ai/v1alpha1\", \"plugins\": [{\"type\": \"nonsense\"}]}"}}"#;
    assert_eq!("data[\"c.json\"]", only_problem(json).0);
}

#[test]
fn each_configuration_is_read() {
    let good = format!("{HEAD}plugins: [{{ type: queue-scorer }}]\n");
    let both = format!("a: |\n{}b: |\n{}", indented(&good, 2), indented(&format!("{HEAD}{PLUGINS}"), 2));
    let found = found(&both);
    let outcomes: Vec<_> = found.iter().map(|found| (&*found.path, found.read.is_ok())).collect();
    assert_eq!(vec![("a", true), ("b", false)], outcomes);
}

#[test]
fn manifest_without_a_configuration_is_a_problem() {
    let error = find("apiVersion: v1\nkind: ConfigMap\ndata: { a: b }\n").unwrap_err().to_string();
    assert!(error.starts_with("line 1: has no EndpointPickerConfig in it; give the file itself"), "{error}");
}

/// `kubectl apply` keeps what it was given, as JSON.
#[test]
fn texts_that_mention_a_configuration_are_none() {
    let good = format!("{HEAD}plugins: [{{ type: queue-scorer }}]\n");
    let applied = good.replace('\n', "\\\\n").replace('"', "\\\\\"");
    let map = |other: &str| {
        format!(
            "kind: ConfigMap\nmetadata:\n  annotations:\n{other}data:\n  a.yaml: |\n{}",
            indented(&good, 4)
        )
    };
    let paths = |text: &str| {
        found(text).into_iter().map(|found| (found.path, found.read.is_ok())).collect::<Vec<_>>()
    };
    let only_a = vec![("data[\"a.yaml\"]".to_owned(), true)];
    let annotation = format!(
        "    kubectl.kubernetes.io/last-applied-configuration: |\n      \
         {{\"apiVersion\":\"v1\",\"data\":{{\"a.yaml\":\"{applied}\"}},\"kind\":\"ConfigMap\"}}\n"
    );
    assert_eq!(only_a, paths(&map(&annotation)));
    for prose in [
        "# Notes\nThe kind is EndpointPickerConfig.\n",
        "Write this:\n```yaml\nkind: EndpointPickerConfig\n```\n",
        "#!/bin/sh\ncat <<EOF\nkind: EndpointPickerConfig\nEOF\n",
        "- kind: x\n- EndpointPickerConfig\n",
    ] {
        assert_eq!(only_a, paths(&map(&format!("    README: |\n{}", indented(prose, 6)))), "{prose}");
    }
    for broken in
        ["kind: EndpointPickerConfig\nplugins: [\n", "# EPP\nplugins: [\nkind: EndpointPickerConfig\n"]
    {
        let map = format!("data:\n  a.yaml: |\n{}", indented(broken, 4));
        assert_eq!(vec![("data[\"a.yaml\"]".to_owned(), false)], paths(&map), "{broken}");
    }
    let misspelt = good.replace("kind:", "kinds:");
    assert!(found(&format!("a: |\n{}", indented(&misspelt, 2)))[0].read.is_err());
}

#[test]
fn problems_around_configurations_count_too() {
    let good = format!("{HEAD}plugins: [{{ type: queue-scorer }}]\n");
    let map = format!("kind: ConfigMap\ndata:\n  a: |\n{}", indented(&good, 4));
    let broken = found(&format!("{map}---\nb: [\n"));
    assert_eq!((2, true), (broken.len(), broken[0].read.is_ok()));
    assert!(broken[1].read.as_ref().unwrap_err().to_string().contains("invalid YAML"));
    let twice = found(&format!("kind: ConfigMap\nkind: Secret\nconfig:\n{}", indented(&good, 2)));
    assert!(twice[1].read.as_ref().unwrap_err().to_string().contains("given twice"));
}

/// An EPP that is given such a file refuses it.
#[test]
fn configuration_has_no_second_document() {
    let good = format!("{HEAD}plugins: [{{ type: queue-scorer }}]\n");
    for text in [
        format!("{good}---\nkind: Secret\n"),
        format!("kind: Service\n---\n{good}"),
        format!("{good}---\n{good}"),
    ] {
        let found = found(&text);
        assert_eq!((1, ""), (found.len(), &*found[0].path));
        let problems = found[0].read.as_ref().unwrap_err().to_string();
        assert!(problems.contains("a second document begins"), "{problems}");
    }
}
