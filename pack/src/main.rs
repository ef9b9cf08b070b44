//! `pillarbox-pack FROM TO` writes the files of one .zip, which are stored there as they are, to another, as small as
//! any program that reads .zip files can read them. Manifests are fitted to what is packed; a package that is too large
//! is refused.

use std::collections::HashSet;
use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::process::ExitCode;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Zopfli tries so often to do better; more gains next to nothing. Levels up to 9 are those of zlib.
const LEVEL: i64 = 24;

/// The package must be smaller (C-M1).
const SIZE_LIMIT_OCTETS: u64 = 250_000;

/// So many of the largest files are named when it is not.
const LARGEST: usize = 5;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: pillarbox-pack FROM TO");
        return ExitCode::from(64);
    };
    let [from, to] = [Path::new(from), Path::new(to)];
    match make(from, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pillarbox-pack: {error}");
            ExitCode::from(65)
        }
    }
}

/// Packs, and leaves no package that is too large.
fn make(from: &Path, to: &Path) -> Result<(), Box<dyn Error>> {
    let in_file = |path: &Path, error: &dyn Error| format!("{}: {error}", path.display());
    let source = File::open(from).map_err(|error| in_file(from, &error))?;
    let target = File::create(to).map_err(|error| in_file(to, &error))?;
    pack(source, target).map_err(|error| in_file(from, &*error))?;
    let mut packed = ZipArchive::new(File::open(to)?)?;
    let octets = fs::metadata(to)?.len();
    if octets >= SIZE_LIMIT_OCTETS {
        let complaint = too_large(octets, &mut packed)?;
        fs::remove_file(to)?;
        return Err(complaint.into());
    }
    println!("{}: {octets} octets, {} below the limit", to.display(), SIZE_LIMIT_OCTETS - octets);
    Ok(())
}

/// What is wrong, and what can be done.
fn too_large(octets: u64, packed: &mut ZipArchive<File>) -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    for index in 0..packed.len() {
        let file = packed.by_index(index)?;
        files.push((file.compressed_size(), file.name()?.into_owned()));
    }
    files.sort_unstable_by(|one, other| other.cmp(one));
    let mut text = format!(
        "the package would be {octets} octets large and must be smaller than {SIZE_LIMIT_OCTETS}, so none is made: \
         take something out of PACKED in the Makefile, or make it shorter. The largest files, in octets:"
    );
    for (octets, name) in files.iter().take(LARGEST) {
        write!(text, "\n  {octets:6} {name}")?;
    }
    Ok(text)
}

fn pack(from: File, to: File) -> Result<(), Box<dyn Error>> {
    let mut from = ZipArchive::new(from)?;
    let names: HashSet<String> = from.file_names().map(|name| name.map(Into::into)).collect::<Result<_, _>>()?;
    let mut to = ZipWriter::new(to);
    for index in 0..from.len() {
        let mut file = from.by_index(index)?;
        // Folders are made for the files in them.
        if file.is_dir() {
            continue;
        }
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .compression_level(Some(LEVEL))
            .last_modified_time(file.last_modified().unwrap_or_default())
            .unix_permissions(file.unix_mode().unwrap_or(0o644));
        let name = file.name()?.into_owned();
        to.start_file(&name, options)?;
        match name.strip_suffix("Cargo.toml") {
            Some(folder) => {
                let mut text = String::new();
                file.read_to_string(&mut text)?;
                io::copy(&mut manifest(&text, folder, &names).as_bytes(), &mut to)?;
            }
            None => drop(io::copy(&mut file, &mut to)?),
        }
    }
    to.finish()?;
    Ok(())
}

/// The manifest of `folder` (empty, or with a slash at its end) as it is packed: without dependencies on crates that are
/// not among the files named, and without what only tests need where no tests are.
fn manifest(text: &str, folder: &str, names: &HashSet<String>) -> String {
    let tests = format!("{folder}tests/");
    let has_tests = names.iter().any(|name| name.starts_with(&tests));
    let mut section = "";
    let mut packed = String::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with('[') {
            section = line.trim_end();
        }
        let path = line.split_once("path = \"").and_then(|(_, rest)| rest.split_once('"'));
        let is_there = path.is_none_or(|(path, _)| names.contains(&format!("{folder}{path}/Cargo.toml")));
        if is_there && (has_tests || section != "[dev-dependencies]") {
            packed += line;
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_names_nothing_that_is_not_packed() {
        let names = ["Cargo.toml", "crates/a/Cargo.toml", "crates/a/src/lib.rs", "crates/b/tests/whole.rs"];
        let names: HashSet<String> = names.map(str::to_owned).into();
        let root = "[workspace.dependencies]\na = { path = \"crates/a\" }\nb = { path = \"crates/b\" }\nc = \"1\"\n";
        let without_b = "[workspace.dependencies]\na = { path = \"crates/a\" }\nc = \"1\"\n";
        assert_eq!(manifest(root, "", &names), without_b);
        let krate = "[dependencies]\nc = \"1\"\n\n[dev-dependencies]\nb = \"1\"\n\n[lints]\nworkspace = true\n";
        let without_tests = "[dependencies]\nc = \"1\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(manifest(krate, "crates/a/", &names), without_tests);
        assert_eq!(manifest(krate, "crates/b/", &names), krate);
    }

    /// The octets of a generator, which no compression makes fewer.
    fn noise(octets: usize) -> Vec<u8> {
        let mut state = 0x2545_f491_4f6c_dd1d_u64;
        let next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[7]
        };
        std::iter::repeat_with(next).take(octets).collect()
    }

    #[test]
    fn a_package_that_is_too_large_is_not_made_and_it_is_said_why() {
        let folder = env::temp_dir().join(format!("pillarbox-pack-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let [from, to] = ["from.zip", "to.zip"].map(|name| folder.join(name));
        for (octets, fits) in [(249_000, true), (250_000, false)] {
            let mut zip = ZipWriter::new(File::create(&from).unwrap());
            let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
            zip.start_file("noise", options).unwrap();
            io::copy(&mut noise(octets).as_slice(), &mut zip).unwrap();
            zip.finish().unwrap();
            let made = make(&from, &to);
            assert_eq!((made.is_ok(), to.exists()), (fits, fits));
            if let Err(error) = made {
                let error = error.to_string();
                for word in ["octets large", "smaller than 250000", "PACKED", " noise"] {
                    assert!(error.contains(word), "{error}");
                }
            }
        }
        fs::remove_dir_all(&folder).unwrap();
    }
}
