# One image with all Signalbox programs.
#   docker build -t signalbox .
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

# glibc, libgcc, CA certificates and an unprivileged user; no shell and no package manager.
FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /programs/ /usr/local/bin/
# Memory in huge pages, where the kernel allows it (`madvise` or `always`): large pools wait for memory most of the time, and
# huge pages save them most look-ups in page tables. `hugetlb` asks for them in the main thread's arena only, unless an arena
# takes 64 MiB of addresses at once (`top_pad`), as much as an arena's heap can have. The benchmark scale-out runs with the same
# setting.
ENV GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.top_pad=67108864
# Numeric, so that Kubernetes can verify runAsNonRoot.
USER 65532:65532
# Override the command to run another program; each one has --help.
CMD ["signalbox-epp", "--help"]
