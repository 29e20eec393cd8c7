FROM node:24-bookworm-slim
ENV NODE_ENV=production
WORKDIR /opt/rosettamq
COPY package.json package-lock.json .npmrc ./
# The image brings Node 24 itself: the optional packages that carry it are left out.
RUN npm ci --omit=dev --omit=optional && npm cache clean --force
COPY bin ./bin
COPY config ./config
COPY src ./src
RUN ln -s /opt/rosettamq/bin/rosettamq.js /usr/local/bin/rosettamq
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
ENV ROSETTAMQ_DATA_DIR=/data
# and 5671, 8883, 61614 once a certificate is configured
EXPOSE 5672 1883 61613 15672 15674 15675 5671 8883 61614
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s \
  CMD ["node", "-e", "fetch('http://127.0.0.1:15672/health/ready').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "src/main.ts"]
