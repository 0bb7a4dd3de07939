#!/bin/sh
# Build $ARCHIVE_IMAGE for $ARCHIVE_PLATFORM (linux/arm64 unless set) and push it, unless it is there already.
# Its tags never change in the repository, so what is there is what was built. Nothing is done without ARCHIVE_IMAGE.
set -eu
[ -n "${ARCHIVE_IMAGE:-}" ] || exit 0
if docker manifest inspect "$ARCHIVE_IMAGE" > /dev/null 2>&1; then
  echo "$ARCHIVE_IMAGE is there already"
  exit 0
fi
commit=$(git describe --always --dirty --abbrev=40 --exclude='*' 2> /dev/null || true)
docker buildx build --platform "${ARCHIVE_PLATFORM:-linux/arm64}" --build-arg ARCHIVE_COMMIT="$commit" \
  --build-arg ARCHIVE_IMAGE="$ARCHIVE_IMAGE" --tag "$ARCHIVE_IMAGE" --push .
