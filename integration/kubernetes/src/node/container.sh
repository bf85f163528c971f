#!/bin/sh
# Runs a container's command in a file system of its own. Runs in a new mount namespace, as root.
#
# Arguments: ROOT MOUNTS ACCESS USER FOLDER VARIABLE=VALUE... COMMAND...
#   ROOT     an empty folder: where the file system is put together
#   MOUNTS   a file with lines "SOURCE<tab>TARGET<tab>ro|rw"
#   ACCESS   ro for a read-only file system, else rw
#   USER     UID:GID, or "-" to stay root
#   FOLDER   the working directory
set -eu
root=$1 mounts=$2 access=$3 user=$4 folder=$5
shift 5

mount -t tmpfs -o mode=755 tmpfs "$root"
mkdir "$root/usr" "$root/usr/local" "$root/proc" "$root/dev" "$root/tmp" "$root/run" "$root/var"
chmod 1777 "$root/tmp"

# The programs and libraries of this machine stand in for those of the image. /usr/local is the image's own.
for path in /bin /sbin /lib /lib32 /lib64 /libx32 /usr/*; do
    if [ "$path" = /usr/local ]; then
        continue
    elif [ -L "$path" ]; then
        cp -P "$path" "$root$path"
    elif [ -d "$path" ]; then
        mkdir "$root$path"
        mount --rbind "$path" "$root$path"
    fi
done
mount --rbind /proc "$root/proc"
mount --rbind /dev "$root/dev"

tab=$(printf '\t')
while IFS=$tab read -r source target mode; do
    if [ -d "$source" ]; then
        mkdir -p "$root$target"
    else
        mkdir -p "$(dirname "$root$target")"
        [ -e "$root$target" ] || : > "$root$target"
    fi
    mount --bind "$source" "$root$target"
    [ "$mode" = rw ] || mount -o remount,bind,ro "$root$target"
done < "$mounts"

[ "$access" = rw ] || mount -o remount,bind,ro "$root"
if [ "$user" = - ]; then
    exec chroot "$root" env -i -C "$folder" "$@"
else
    exec chroot --userspec="$user" --groups="${user#*:}" "$root" env -i -C "$folder" "$@"
fi
