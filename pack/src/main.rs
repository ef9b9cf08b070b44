//! `pillarbox-pack FROM TO` writes the files of one .zip, which are stored there as they are, to another, as small as
//! any program that reads .zip files can read them.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io;
use std::process::ExitCode;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

/// Zopfli tries so often to do better; more gains next to nothing. Levels up to 9 are those of zlib.
const LEVEL: i64 = 24;

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: pillarbox-pack FROM TO");
        return ExitCode::from(64);
    };
    let packed = File::open(from).map_err(Into::into).and_then(|from| pack(from, File::create(to)?));
    match packed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("pillarbox-pack: {}: {error}", from.display());
            ExitCode::from(65)
        }
    }
}

fn pack(from: File, to: File) -> Result<(), Box<dyn Error>> {
    let mut from = ZipArchive::new(from)?;
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
        to.start_file(name, options)?;
        io::copy(&mut file, &mut to)?;
    }
    to.finish()?;
    Ok(())
}
