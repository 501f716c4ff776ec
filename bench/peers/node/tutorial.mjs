// A peer: the tutorial's authorizer, written again: it fetches the secret for each request, and answers for one ARN.
// KEEP_SECRET=1 keeps the secret, which the tutorial does not do.
import jwt from "jsonwebtoken";
import { GetSecretValueCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";

let kept;

async function secretOf() {
  if (kept) return kept.secret;
  const client = new SecretsManagerClient();
  const answer = await client.send(new GetSecretValueCommand({ SecretId: process.env.JWT_SECRET_ID }));
  const secret = JSON.parse(answer.SecretString).my_secret_key;
  if (process.env.KEEP_SECRET) kept = { secret };
  return secret;
}

const policy = (principalId, Effect, Resource) => ({
  principalId,
  policyDocument: { Version: "2012-10-17", Statement: [{ Action: "execute-api:Invoke", Effect, Resource }] },
});

export const handler = async (event) => {
  const secret = await secretOf();
  try {
    const claims = jwt.verify(event.headers.authorization, secret);
    const may = claims.roles.includes("admin") || (claims.roles.includes("user") && event.methodArn.includes("GET"));
    return policy(claims.sub, may ? "Allow" : "Deny", event.methodArn);
  } catch {
    return policy("anonymous", "Deny", event.methodArn);
  }
};
