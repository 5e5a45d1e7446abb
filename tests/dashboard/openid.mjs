// A real OpenID provider, node's own `oidc-provider`, with the one page that it leaves to us: who are you?

import { createServer } from "node:http";

import Provider from "oidc-provider";

import { atTheEnd } from "./ending.mjs";
import { startGateway } from "./gateway.mjs";

const clientId = "modelswitch";
const clientSecret = "a secret that the provider gave us";

/**
 * The provider for a gateway at `gatewayUrl()`, which is known only after it has started. Whoever writes an email address is
 * the person who has it; `verified` says whether it is known to be theirs.
 */
async function startProvider() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  atTheEnd(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const issuer = `http://127.0.0.1:${server.address().port}`;
  const people = { verified: true, seen: [] };

  /** From now on it knows the gateway there. */
  function knows(gatewayUrl, more = {}) {
    const provider = new Provider(issuer, {
      clients: [
        {
          client_id: clientId,
          client_secret: clientSecret,
          redirect_uris: [`${gatewayUrl}/dashboard/openid/return`],
          ...more,
        },
      ],
      claims: { openid: ["sub"], email: ["email", "email_verified"] },
      cookies: { keys: ["of this run alone"] },
      features: { devInteractions: { enabled: false } },
      findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, email: id, email_verified: people.verified }) }),
      interactions: { url: (_, interaction) => `/interaction/${interaction.uid}` },
      // Nobody is asked what the gateway may know: it is the organisation's own.
      loadExistingGrant: async ({ oidc }) => {
        const grant = new oidc.provider.Grant({ clientId: oidc.client.clientId, accountId: oidc.session.accountId });
        grant.addOIDCScope("openid email");
        await grant.save();
        return grant;
      },
    });
    const answer = provider.callback();
    server.removeAllListeners("request");
    server.on("request", (request, response) => {
      people.seen.push(`${request.method} ${new URL(request.url, issuer).pathname}`);
      if (request.url.startsWith("/interaction/")) interact(provider, request, response);
      else answer(request, response);
    });
  }

  return { issuer, people, knows };
}

/** A gateway with these arguments, and the provider that it relies on, which knows it so. */
export async function startRelated(args = [], client = {}) {
  const provider = await startProvider();
  // The issuer's own documents are there when the gateway asks for them first, which is when somebody signs in.
  const relies = ["--openid-issuer", provider.issuer, "--openid-client-id", clientId];
  const gateway = await startGateway([...relies, ...args], { OPENID_CLIENT_SECRET: clientSecret });
  provider.knows(gateway.url, client);
  return { ...gateway, provider };
}

async function interact(provider, request, response) {
  if (request.method === "GET") {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(`<!DOCTYPE html><html lang="en"><title>The organisation</title><h1>Who are you?</h1><form method="post">
<label>Address <input name="email"></label><button>Go on</button><button name="refuse" value="1">Refuse</button></form>`);
    return;
  }
  const chunks = await request.toArray();
  const form = new URLSearchParams(Buffer.concat(chunks).toString());
  const result = form.has("refuse")
    ? { error: "access_denied", error_description: "refused" }
    : { login: { accountId: form.get("email") } };
  await provider.interactionFinished(request, response, result);
}
