//! Writes volumes into folders of this machine, which containers mount.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::node::environment::{PodFacts, field};
use crate::node::sources::{Sources, audience, reference, volume_sources};
use crate::sandbox::can_switch_users;

/// The mode of files in volumes, unless the volume says otherwise.
const FILE_MODE: u32 = 0o644;

/// A file of a volume: its content and mode.
type Files = BTreeMap<String, (Vec<u8>, u32)>;

/// Writes all volumes of a pod below `folder`, each in a folder with its name. Writing them again replaces only files
/// that changed, each at once, and removes those that are gone.
pub(crate) fn write(folder: &Path, facts: &PodFacts<'_>, sources: &Sources) -> anyhow::Result<()> {
    for volume in &facts.pod.volumes {
        let name = volume["name"].as_str().context("a volume has no name")?;
        let place = path(folder, name);
        let written = write_volume(&place, facts, sources, volume);
        written.with_context(|| format!("volume {name}"))?;
    }
    Ok(())
}

/// Returns the folder of a volume.
pub(crate) fn path(folder: &Path, volume: &str) -> PathBuf {
    folder.join("volumes").join(volume)
}

fn write_volume(place: &Path, facts: &PodFacts<'_>, sources: &Sources, volume: &Value) -> anyhow::Result<()> {
    fs::create_dir_all(place)?;
    if !volume["emptyDir"].is_null() {
        // Any user of the pod may write.
        return Ok(fs::set_permissions(place, fs::Permissions::from_mode(0o777))?);
    }
    let kinds = ["configMap", "secret", "projected", "downwardAPI"];
    let kind =
        kinds.into_iter().find(|kind| !volume[*kind].is_null()).context("unsupported kind of volume")?;
    let mode = volume[kind]["defaultMode"].as_u64().map_or(FILE_MODE, |mode| mode as u32);
    let mut files = Files::new();
    for source in volume_sources(volume) {
        files.extend(read_source(facts, sources, source, mode)?);
    }
    for (name, (content, mode)) in &files {
        write_file(&place.join(name), content, *mode, facts.pod.group)?;
    }
    remove_others(place, &files)
}

fn read_source(facts: &PodFacts<'_>, sources: &Sources, source: &Value, mode: u32) -> anyhow::Result<Files> {
    let mut files = Files::new();
    let token = &source["serviceAccountToken"];
    if !token.is_null() {
        let name = token["path"].as_str().context("a token has no path")?;
        // The kubelet makes it readable for any user too, if the pod does not say which one it runs as.
        files.insert(name.to_owned(), (sources.token(&audience(token))?.into(), FILE_MODE));
        return Ok(files);
    }
    for item in source["downwardAPI"]["items"].as_array().into_iter().flatten() {
        let name = item["path"].as_str().context("an item has no path")?;
        let path = item["fieldRef"]["fieldPath"].as_str().context("only fields are supported")?;
        files.insert(name.to_owned(), (field(facts, path)?.into_bytes(), mode));
    }
    if !source["downwardAPI"].is_null() {
        return Ok(files);
    }
    let (object, reference) = reference(source).with_context(|| format!("unsupported source {source}"))?;
    let mut data = sources.required(object, reference)?;
    let Some(items) = reference["items"].as_array() else {
        return Ok(data.into_iter().map(|(key, content)| (key, (content, mode))).collect());
    };
    for item in items {
        let (key, name) =
            (item["key"].as_str().unwrap_or_default(), item["path"].as_str().unwrap_or_default());
        let mode = item["mode"].as_u64().map_or(mode, |mode| mode as u32);
        match data.remove(key) {
            Some(content) => files.insert(name.to_owned(), (content, mode)),
            None if reference["optional"] == true => None,
            None => bail!("{:?} {} has no key {key}", object.0, object.1),
        };
    }
    Ok(files)
}

/// Replaces a file, so that readers see the old content or the new one.
pub(crate) fn write_file(file: &Path, content: &[u8], mode: u32, group: Option<u32>) -> anyhow::Result<()> {
    if fs::read(file).is_ok_and(|present| present == content) {
        return Ok(());
    }
    let folder = file.parent().context("a file without a folder")?;
    fs::create_dir_all(folder)?;
    let name = file.file_name().context("a file without a name")?.to_string_lossy().into_owned();
    let new = folder.join(format!(".{name}.new"));
    fs::write(&new, content)?;
    // As the kubelet does, the group may read what it owns.
    let mode = if group.is_some() { mode | 0o440 } else { mode };
    fs::set_permissions(&new, fs::Permissions::from_mode(mode))?;
    if can_switch_users() {
        chown(&new, None, group)?;
    }
    Ok(fs::rename(&new, file)?)
}

fn remove_others(place: &Path, files: &Files) -> anyhow::Result<()> {
    for entry in fs::read_dir(place)? {
        let path = entry?.path();
        let name = path.strip_prefix(place)?.to_string_lossy().into_owned();
        if path.is_file() && !files.contains_key(&name) {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
    }
    Ok(())
}
