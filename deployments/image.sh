#!/bin/sh
# Build the image of this checkout. Two builds of one commit on one base have equal layers:
# docs/decisions/0072-an-image-is-built-twice-alike.md.
#
#   image.sh                    builds $ARCHIVE_IMAGE for $ARCHIVE_PLATFORM (linux/arm64 unless set) and pushes it with
#                               its provenance and bill of materials, unless it is there already. Its tags never change
#                               in the repository, so what is there is what was built. Without ARCHIVE_IMAGE: nothing.
#   image.sh local [option ...] builds recording-archive:local for this machine, with Docker. Where no Docker answers,
#                               root builds it with buildah, on a stand-in for the base: Debian's own Python.
set -eu
cd "$(dirname "$0")/.."
[ "${1:-}" = local ] || [ -n "${ARCHIVE_IMAGE:-}" ] || exit 0

build() { # builder and options: what every build of this commit is told
  "$@" --build-arg ARCHIVE_COMMIT="$commit" --build-arg ARCHIVE_VERSION="$version" \
    --build-arg ARCHIVE_IMAGE="$image" --build-arg SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" .
}

stand_in() { # Debian's Python under the paths of Docker's, and this machine's certificate authorities
  buildah inspect --type image "$1" > /dev/null 2>&1 && return
  echo "Building $1, a stand-in for Docker's python:3.13-slim-trixie: Debian's own Python 3.13 ..."
  work=$(buildah from scratch)
  root=$(buildah mount "$work")
  mmdebstrap --quiet --variant=minbase --include=ca-certificates,netbase,tzdata,python3.13-venv,python3-pip \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' trixie - | tar --extract --directory "$root" --exclude './dev/*'
  ln -s /usr/bin/python3.13 "$root/usr/local/bin/python"
  rm -rf "$root"/usr/lib/python3*/EXTERNALLY-MANAGED "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/*
  authorities=/etc/ssl/certs/ca-certificates.crt
  cp "$authorities" "$root$authorities"
  buildah config --env PATH=/usr/local/bin:/usr/sbin:/usr/bin --env PIP_CERT=$authorities \
    --env SSL_CERT_FILE=$authorities "$work"
  buildah commit --quiet --rm "$work" "$1" > /dev/null
}

commit=$(git describe --always --dirty --abbrev=40 --exclude='*' 2> /dev/null || true)
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2> /dev/null || echo 0)
export SOURCE_DATE_EPOCH

if [ "${1:-}" != local ]; then
  image=$ARCHIVE_IMAGE
  if docker manifest inspect "$image" > /dev/null 2>&1; then
    echo "$image is there already"
    exit 0
  fi
  zstd=compression=zstd,compression-level=12,force-compression=true # the base's layers, too
  build docker buildx build --platform "${ARCHIVE_PLATFORM:-linux/arm64}" --provenance=mode=max --sbom=true \
    --output "type=image,name=$image,push=true,rewrite-timestamp=true,oci-mediatypes=true,$zstd"
  exit 0
fi

shift
image=recording-archive:local
if docker info > /dev/null 2>&1; then
  build docker buildx build --load --tag "$image" "$@"
elif command -v buildah > /dev/null && command -v mmdebstrap > /dev/null; then
  base=localhost/python-stand-in:3.13-trixie
  export BUILDAH_ISOLATION=chroot # needs neither namespaces nor cgroups
  stand_in "$base"
  build buildah build --quiet --pull=never --network host --format docker --timestamp "$SOURCE_DATE_EPOCH" \
    --build-arg BASE="$base" --tag "$image" "$@"
else
  echo "No Docker answers, and buildah or mmdebstrap is not installed: start Docker, or as root on Debian" >&2
  echo "apt-get install --no-install-recommends buildah mmdebstrap" >&2
  exit 1
fi
