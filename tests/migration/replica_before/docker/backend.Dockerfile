# Built at the root of the repository.

FROM python:3.13-slim-bookworm

ENV DOCKER_ENV=1 \
    PATH="/app/.venv/bin:$PATH"

WORKDIR /app

RUN apt-get update -qq && apt-get install -y -qq --no-install-recommends curl \
    && curl -LsSf https://astral.sh/uv/install.sh | sh \
    && mv /root/.local/bin/uv /usr/local/bin/uv

COPY backend/pyproject.toml.merged ./pyproject.toml
COPY backend/uv.lock ./
COPY backend/ .

RUN uv sync --frozen --extra mariadb --extra sqlserver

# Copy data directory to temporary location for initialization
COPY data/ /app/data_temp/

COPY backend/scripts/start.sh /start.sh
CMD ["/start.sh"]
