# The image that ECS runs, for linux/arm64 and linux/amd64. docs/architecture.md says what is in it.
FROM python:3.13-slim-trixie AS build
COPY requirements/uv.txt requirements/production.txt /requirements/
RUN python -m pip install --no-cache-dir --require-hashes -r /requirements/uv.txt \
 && python -m venv --without-pip /venv \
 && uv pip sync --python /venv/bin/python --require-hashes --compile-bytecode /requirements/production.txt

FROM python:3.13-slim-trixie
RUN useradd --create-home --uid 10001 archive
COPY --from=build /venv /venv
WORKDIR /opt/archive
COPY recordings/ recordings/
COPY tasks/ tasks/
COPY flows/ flows/
ENV PATH=/venv/bin:$PATH PYTHONPATH=/opt/archive PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
# A Spot stop (SIGTERM) schedules the run again instead of failing it; a run that says nothing is noticed soon.
ENV PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR=reschedule PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30
# Which commit and image a run used goes into its start record.
ARG ARCHIVE_COMMIT=""
ARG ARCHIVE_IMAGE=""
ENV ARCHIVE_COMMIT=$ARCHIVE_COMMIT ARCHIVE_IMAGE=$ARCHIVE_IMAGE
USER 10001
RUN ["python", "-c", "import flows.archive"]
CMD ["prefect", "flow-run", "execute"]
