# The image that ECS runs, for linux/arm64 and linux/amd64. docs/architecture.md says what is in it.
# "make base" pins the base to the digest of the day.
ARG BASE=docker.io/library/python:3.13-slim-trixie

FROM ${BASE} AS build
# hadolint ignore=DL3008,DL3009 # this stage is not shipped
RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends binutils > /dev/null
COPY requirements/uv.txt requirements/production.txt /requirements/
RUN python -m pip install --no-cache-dir --require-hashes -r /requirements/uv.txt \
 && python -m venv --without-pip /venv \
 && uv pip sync --no-cache --python /venv/bin/python --require-hashes /requirements/production.txt
# What neither flows nor the worker use: Prefect's UI, most AWS services, Arrow's own clients, a picture format,
# headers, tests, symbols.
WORKDIR /venv/lib/python3.13/site-packages
RUN rm -rf prefect/server/ui* pyarrow/include pyarrow/*flight* pyarrow/*s3* numpy/_core/include \
    PIL/_avif.* pillow.libs/libavif* \
 && find botocore/data -mindepth 1 -maxdepth 1 -type d -not -name s3 -not -name 'sso*' -not -name sts \
    -not -name ec2 -not -name ecs -not -name logs -not -name sqs -exec rm -rf {} + \
 && find . -type d -name tests -prune -exec rm -rf {} + \
 && find . -type f -name '*.so*' -exec strip --strip-unneeded {} + \
 && for file in pyarrow/*.so.*.*.*; do short=${file%.*.*}; \
    ln -sf "${file##*/}" "$short"; ln -sf "${file##*/}" "${short%.*}"; done
COPY recordings/ /opt/archive/recordings/
COPY tasks/ /opt/archive/tasks/
COPY flows/ /opt/archive/flows/
# Two builds are equal: bytecode with neither times nor chance in it. It is not compared with its source at each start.
ENV PYTHONHASHSEED=0
RUN /venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /venv/lib /opt/archive
WORKDIR /opt/archive
RUN ["/venv/bin/python", "-B", "-c", "import flows.archive, flows.backfill, flows.report, flows.export, matplotlib.ft2font, PIL._imagingft"]

FROM ${BASE}
ARG SOURCE_DATE_EPOCH=0
RUN useradd --uid 10001 --create-home --home-dir /scratch --skel /nothing archive
COPY --from=build /venv /venv
COPY --from=build /opt/archive /opt/archive
WORKDIR /opt/archive
ENV PATH=/venv/bin:$PATH PYTHONPATH=/opt/archive PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# The only place to write to: deployments/ecs-base-job-template.json mounts an empty volume here, which gets its owner.
VOLUME /scratch
ENV HOME=/scratch TMPDIR=/scratch
# A Spot stop (SIGTERM) schedules the run again instead of failing it; a run that says nothing is noticed soon.
ENV PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR=reschedule PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30
# Which commit and image a run used goes into its start record.
ARG ARCHIVE_COMMIT=""
ARG ARCHIVE_IMAGE=""
ARG ARCHIVE_VERSION=""
ENV ARCHIVE_COMMIT=$ARCHIVE_COMMIT ARCHIVE_IMAGE=$ARCHIVE_IMAGE
LABEL org.opencontainers.image.title="connect-recording-archive" org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.revision="$ARCHIVE_COMMIT" org.opencontainers.image.version="$ARCHIVE_VERSION"
USER 10001
CMD ["prefect", "flow-run", "execute"]
