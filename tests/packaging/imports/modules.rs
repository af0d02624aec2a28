//! The modules of a crate as its sources have them, and which file takes something of which.
//!
//! A path is followed to the file that defines what it names: through modules, through what `use` brings into them, through what they give on. What a
//! file takes of the modules below it is no import: they are its parts. Neither is what stands under `#[cfg(test)]`.
//! Not seen: names that a glob brings (clippy refuses globs), and paths in the strings of attributes.
use std::{
    collections::{BTreeMap, BTreeSet},
    mem::take,
    path::{Path, PathBuf},
};

use proc_macro2::{TokenStream, TokenTree};
use syn::{
    Attribute, Item, UseTree,
    visit::{self, Visit},
};

/// A path in the crate, from its root or from a module; one that begins with `::` begins with an empty name.
type Names = Vec<String>;

/// Which file takes something of which, and one of the paths by which it does.
pub(crate) type Imports = BTreeMap<(String, String), String>;

/// The imports in the crate of these files, which are named by their paths in its folder.
pub(crate) fn imports(files: &[(PathBuf, String)]) -> Imports {
    let mut modules = Modules::default();
    modules.read(files, &[]);
    let mut found = Imports::new();
    for (at, module) in &modules.0 {
        let mut reader = Reader { modules: &modules, at, file: &module.file, found: &mut found };
        module.items.iter().for_each(|item| reader.visit_item(item));
    }
    found
}

struct Module {
    /// The module whose file it stands in: itself, unless it stands within another.
    file: Names,
    items: Vec<Item>,
    /// What `use` brings into it: the path behind each name.
    uses: BTreeMap<String, Names>,
    functions: BTreeSet<String>,
}

impl Visit<'_> for Module {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        // A path that begins with the name that it brings is one of another crate.
        self.uses.extend(leaves(item).into_iter().filter(|(name, path)| path.first() != Some(name)));
    }
}

/// All modules of a crate by their paths; the root's is empty.
#[derive(Default)]
struct Modules(BTreeMap<Names, Module>);

impl Modules {
    /// Reads the file of a module, and those of the modules below it.
    fn read(&mut self, files: &[(PathBuf, String)], at: &[String]) {
        let name = name(at);
        let (_, text) = files.iter().find(|(path, _)| path == Path::new(&name)).unwrap_or_else(|| panic!("{name} is not there"));
        let items = syn::parse_file(text).unwrap_or_else(|error| panic!("{name}: {error}")).items;
        self.add(files, at, at, items);
    }

    fn add(&mut self, files: &[(PathBuf, String)], at: &[String], file: &[String], items: Vec<Item>) {
        let mut module = Module { file: file.to_vec(), items: Vec::new(), uses: BTreeMap::new(), functions: BTreeSet::new() };
        for item in items.into_iter().filter(|item| !is_of_tests(attributes(item))) {
            match item {
                Item::Mod(below) => {
                    let at = [at, &[below.ident.to_string()]].concat();
                    match below.content {
                        Some((_, items)) => self.add(files, &at, file, items),
                        None => self.read(files, &at),
                    }
                }
                item => {
                    module.visit_item(&item);
                    if let Item::Fn(function) = &item {
                        module.functions.insert(function.sig.ident.to_string());
                    }
                    module.items.push(item);
                }
            }
        }
        self.0.insert(at.to_vec(), module);
    }

    /// The file that defines what a path names, as a module writes it; none if that is a module, stands in another crate, or needs no path.
    fn definer(&self, at: &[String], path: &[String]) -> Option<&Names> {
        let mut here = at.to_vec();
        for (index, name) in path.iter().enumerate() {
            let rest = &path[index + 1..];
            match name.as_str() {
                "crate" => here.clear(),
                "super" => drop(here.pop()),
                "self" => {}
                name => {
                    let module = &self.0[&here];
                    let below = [here.as_slice(), &[name.to_owned()]].concat();
                    let is_module = self.0.contains_key(&below);
                    if is_module && !rest.is_empty() {
                        here = below;
                    } else if let Some(behind) = module.uses.get(name) {
                        return self.definer(&here, &[behind, rest].concat());
                    } else {
                        let is_defined = if is_module { module.functions.contains(name) } else { index > 0 };
                        return is_defined.then_some(&module.file);
                    }
                }
            }
        }
        None
    }
}

/// Finds what a module takes of others.
struct Reader<'a> {
    modules: &'a Modules,
    at: &'a Names,
    file: &'a Names,
    found: &'a mut Imports,
}

impl Reader<'_> {
    fn note_all(&mut self, paths: Vec<Names>) {
        for path in paths {
            self.note(&path);
        }
    }

    fn note(&mut self, path: &[String]) {
        if let Some(definer) = self.modules.definer(self.at, path)
            && !definer.starts_with(self.file)
        {
            self.found.entry((name(self.file), name(definer))).or_insert_with(|| path.join("::"));
        }
    }
}

impl Visit<'_> for Reader<'_> {
    fn visit_item_use(&mut self, item: &syn::ItemUse) {
        self.note_all(leaves(item).into_iter().map(|(_, path)| path).collect());
    }

    fn visit_path(&mut self, path: &syn::Path) {
        let absolute = path.leading_colon.map(|_| String::new());
        let names: Names = absolute.into_iter().chain(path.segments.iter().map(|segment| segment.ident.to_string())).collect();
        self.note(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &syn::Macro) {
        self.visit_path(&call.path);
        self.note_all(paths(call.tokens.clone()));
    }

    fn visit_meta_list(&mut self, list: &syn::MetaList) {
        self.note_all(paths(list.tokens.clone()));
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        if !is_of_tests(&function.attrs) {
            visit::visit_impl_item_fn(self, function);
        }
    }
}

/// The file of a module.
fn name(module: &[String]) -> String {
    if module.is_empty() { "lib.rs".to_owned() } else { format!("{}.rs", module.join("/")) }
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    let is_test = |attribute: &Attribute| attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"));
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && is_test(attribute))
}

/// The attributes of what tests have of their own.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        _ => &[],
    }
}

/// What a `use` brings: names, and the paths behind them.
fn leaves(item: &syn::ItemUse) -> Vec<(String, Names)> {
    fn follow(tree: &UseTree, before: &[String], found: &mut Vec<(String, Names)>) {
        let with = |name: &syn::Ident| if name == "self" { before.to_vec() } else { [before, &[name.to_string()]].concat() };
        match tree {
            UseTree::Path(path) => follow(&path.tree, &[before, &[path.ident.to_string()]].concat(), found),
            UseTree::Name(leaf) => {
                let path = with(&leaf.ident);
                found.extend(path.last().cloned().map(|name| (name, path)));
            }
            UseTree::Rename(leaf) => found.push((leaf.rename.to_string(), with(&leaf.ident))),
            UseTree::Group(group) => group.items.iter().for_each(|tree| follow(tree, before, found)),
            UseTree::Glob(_) => {}
        }
    }
    let absolute: Names = item.leading_colon.iter().map(|_| String::new()).collect();
    let mut found = Vec::new();
    follow(&item.tree, &absolute, &mut found);
    found
}

/// The paths in what a macro is given, whose syntax is its own: names with `::` between them.
fn paths(tokens: TokenStream) -> Vec<Names> {
    let mut found = Vec::new();
    let (mut path, mut colons) = (Names::new(), 0);
    for token in tokens {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
            TokenTree::Ident(name) => {
                if colons != 2 {
                    found.push(take(&mut path));
                } else if path.is_empty() {
                    path.push(String::new());
                }
                path.push(name.to_string());
                colons = 0;
            }
            other => {
                found.push(take(&mut path));
                colons = 0;
                if let TokenTree::Group(group) = other {
                    found.extend(paths(group.stream()));
                }
            }
        }
    }
    found.push(path);
    found.retain(|path| path.len() > 1);
    found
}
