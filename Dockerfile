# One image with all of Signalbox's programs: docker build -t signalbox .
#   docker run signalbox signalbox-epp --help
FROM rust:1.95-slim-bookworm AS build
WORKDIR /signalbox
COPY . .
RUN cargo build --release --locked \
      --package signalbox-aggregator --package signalbox-collector --package signalbox-epp \
      --package signalbox --package signalbox-modelsim \
 && mkdir /programs \
 && find target/release -maxdepth 1 -type f -perm -u+x -name 'signalbox*' -exec cp -t /programs {} + \
 && strip /programs/*

# glibc, libgcc, CA certificates and a user without rights; no shell, no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /programs/ /usr/local/bin/
# By number, so that runAsNonRoot can be checked.
USER 65532:65532
# Which program is the command's to say; every one has --help.
CMD ["signalbox-epp", "--help"]
