//! Kernel modules in the order in which they load, from what each says of itself (modinfo(8)).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, Result};
use crate::inputs;
use crate::process::step;

/// A module: its name and its uncompressed file.
pub type Module = (String, Vec<u8>);

/// The modules `wanted` and all that they depend on, each after what it needs.
pub fn load(tree: &Path, wanted: &[&str]) -> Result<Vec<Module>> {
    let files = compressed(tree)?;
    let mut loaded = Vec::new();
    let mut seen = BTreeSet::new();
    for name in wanted {
        visit(name, &files, &mut seen, &mut loaded)?;
    }
    Ok(loaded)
}

fn visit(
    name: &str,
    files: &[PathBuf],
    seen: &mut BTreeSet<String>,
    loaded: &mut Vec<Module>,
) -> Result<()> {
    if !seen.insert(stem(Path::new(name))) {
        return Ok(());
    }
    let path = files
        .iter()
        .find(|path| stem(path) == stem(Path::new(name)));
    let path = path.ok_or_else(|| Error::MissingInput(PathBuf::from(name)))?;
    let bytes = step(Command::new("xz").arg("-dc").arg(path))?;
    for needed in depends(&bytes) {
        visit(&needed, files, seen, loaded)?;
    }
    loaded.push((name.to_owned(), bytes));
    Ok(())
}

/// A module's name: file names and dependencies mix dashes and underscores.
fn stem(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.trim_end_matches(".ko.xz").replace('-', "_")
}

/// The names in the module's own `depends=` string.
fn depends(module: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = module.windows(FIELD.len()).position(|part| part == FIELD) else {
        return Vec::new();
    };
    let rest = &module[at + FIELD.len()..];
    let end = rest.iter().position(|&byte| byte == 0);
    let text = String::from_utf8_lossy(&rest[..end.unwrap_or(0)]);
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(str::to_owned).collect()
}

/// All module files of a tree.
fn compressed(tree: &Path) -> Result<Vec<PathBuf>> {
    let (mut folders, mut found) = (vec![tree.to_owned()], Vec::new());
    while let Some(folder) = folders.pop() {
        for path in inputs::entries(&folder)? {
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if path.to_string_lossy().ends_with(".ko.xz") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_are_listed_in_the_module() {
        assert_eq!(depends(b"x\0depends=jbd2,mbcache\0y"), ["jbd2", "mbcache"]);
        assert!(depends(b"x\0depends=\0y").is_empty());
        assert!(depends(b"nothing").is_empty());
    }
}
