# One static executable in an empty image, run by a user without rights. `docker build . -t server`, then
# `docker run -p 8000:8000 server 8000` as with DoubleDutch: see docs/doubledutch.md.
FROM rust:1.95-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends musl-tools
WORKDIR /tenure
COPY . .
# The whole root of the image: the program under both names, and a data directory.
RUN packaging/static.sh /root-of-image/tenure \
    && ln -s tenure /root-of-image/server \
    && mkdir /root-of-image/data

FROM scratch
COPY --from=build /root-of-image/ /
COPY --from=build --chown=65532:65532 --chmod=700 /root-of-image/data /data
USER 65532:65532
ENV TENURE_DATA=/data
VOLUME /data
# Under this name the program is `tenure doubledutch`; for the other commands: --entrypoint /tenure.
ENTRYPOINT ["/server"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 CMD ["/tenure", "health"]
