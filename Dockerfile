# Colorize or train in a container.
#
#   docker build -t colorize .                              # CPU
#   docker build -t colorize --build-arg GPU=1 .            # NVIDIA GPU, run with --gpus all
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD:/disk" colorize \
#       test.py /disk/MyScans /disk/Colored
FROM python:3.12-slim
ARG GPU=0
WORKDIR /app
COPY requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt \
    && if [ "$GPU" = 1 ]; then \
        pip install --no-cache-dir "tensorflow[and-cuda]" -c requirements.txt; fi
COPY . .
# Any user may run it: what is written beside the results lies in /tmp.
RUN chmod -R a+rX /app
ENV HOME=/tmp USER=user PYTHONDONTWRITEBYTECODE=1
ENTRYPOINT ["python"]
CMD ["test.py", "--help"]
