//! Source files, and which module of their crate each of them imports.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::{self, Visit};
use syn::{Attribute, Item, UseTree};

/// A module of a crate: the names on its path below the crate's root.
pub(crate) type Module = Vec<String>;

/// Returns all Rust files below `folder`.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a source folder can be listed") {
        let path = entry.expect("a source folder can be listed").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// Returns the modules below the source folder `src`, each with the modules of the same crate that its product code
/// (everything outside `#[cfg(test)]`) imports. Modules that are files of tests are left out.
pub(crate) fn module_imports(src: &Path) -> BTreeMap<Module, BTreeSet<Module>> {
    let files: BTreeMap<Module, syn::File> =
        rust_files(src).into_iter().map(|file| (module_of(src, &file), parse(&file))).collect();
    let test_modules: Vec<Module> =
        files.iter().flat_map(|(module, file)| test_children(module, file)).collect();
    let is_test = |module: &Module| test_modules.iter().any(|test| module.starts_with(test));
    let known: BTreeSet<Module> = files.keys().filter(|module| !is_test(module)).cloned().collect();
    let imports = |module: &Module| {
        let mut paths = Paths { of: module, known: &known, imports: BTreeSet::new() };
        paths.visit_file(&files[module]);
        paths.imports.remove(module);
        paths.imports
    };
    known.iter().map(|module| (module.clone(), imports(module))).collect()
}

fn parse(file: &Path) -> syn::File {
    let text = fs::read_to_string(file).expect("a source file can be read");
    syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

fn module_of(src: &Path, file: &Path) -> Module {
    let path = file.strip_prefix(src).expect("the file is below the source folder").with_extension("");
    let mut names: Module = path.iter().map(|name| name.to_string_lossy().into_owned()).collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        names.pop();
    }
    names
}

/// Returns the children of `module` that exist for tests only.
fn test_children(module: &Module, file: &syn::File) -> Vec<Module> {
    let tests = file.items.iter().filter_map(|item| match item {
        Item::Mod(item) if is_for_tests(&item.attrs) => Some(item.ident.to_string()),
        _ => None,
    });
    tests.map(|name| [module.clone(), vec![name]].concat()).collect()
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|condition| condition.is_ident("test"))
    })
}

/// Collects the modules that the paths of one file name.
struct Paths<'a> {
    of: &'a Module,
    known: &'a BTreeSet<Module>,
    imports: BTreeSet<Module>,
}

impl Paths<'_> {
    /// Notes the innermost known module on a path that begins with `crate`, `self` or `super`.
    fn note(&mut self, names: &[String]) {
        let (mut base, mut at) = (None::<Module>, 0);
        while let Some(name) = names.get(at) {
            base = match name.as_str() {
                "crate" => Some(Vec::new()),
                "self" => Some(base.unwrap_or_else(|| self.of.clone())),
                "super" => {
                    let mut parent = base.unwrap_or_else(|| self.of.clone());
                    parent.pop();
                    Some(parent)
                }
                _ => break,
            };
            at += 1;
        }
        let Some(mut module) = base else { return };
        for name in &names[at..] {
            module.push(name.clone());
            if !self.known.contains(&module) {
                module.pop();
                break;
            }
        }
        self.imports.insert(module);
    }

    fn note_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: String| [before, &[name]].concat();
        match tree {
            UseTree::Path(path) => self.note_tree(&with(path.ident.to_string()), &path.tree),
            UseTree::Name(name) => self.note(&with(name.ident.to_string())),
            UseTree::Rename(rename) => self.note(&with(rename.ident.to_string())),
            UseTree::Glob(_) => self.note(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.note_tree(before, tree)),
        }
    }
}

impl<'ast> Visit<'ast> for Paths<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Mod(module) if is_for_tests(&module.attrs) => {}
            Item::Fn(function) if is_for_tests(&function.attrs) => {}
            Item::Impl(block) if is_for_tests(&block.attrs) => {}
            Item::Use(import) if is_for_tests(&import.attrs) => {}
            Item::Use(import) => self.note_tree(&[], &import.tree),
            item => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.note(&names);
        visit::visit_path(self, path);
    }
}
