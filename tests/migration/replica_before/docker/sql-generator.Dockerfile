# Built at the root of the repository.

FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DOCKER_CONTAINER=true \
    UV_SYSTEM_PYTHON=1

WORKDIR /app

RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends curl bash \
    && curl -LsSf https://astral.sh/uv/install.sh | sh \
    && mv /root/.local/bin/uv /usr/local/bin/uv

COPY frontend/sql_generator/pyproject.toml.merged ./pyproject.toml
COPY frontend/sql_generator/uv.lock ./
COPY frontend/sql_generator/ .

RUN uv sync --frozen --no-cache

# Normalize line endings and ensure scripts are executable (robust on Windows checkouts)
RUN mkdir -p /app/logs /app/data

COPY frontend/sql_generator/entrypoint-sql-generator.sh /entrypoint.sh

EXPOSE 8020

# Health check
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s --retries=3 \
    CMD curl -f http://localhost:8020/health || exit 1

# Use custom entrypoint
ENTRYPOINT ["/entrypoint.sh"]
