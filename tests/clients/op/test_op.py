"""pyonepassword, secretspec, and the lookup plugins of Ansible's community.general."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

from pyonepassword import OP
from pyonepassword.api.authentication import EXISTING_AUTH_REQD
from pyonepassword.api.exceptions import OPItemGetException
from secretspec import MissingRequiredError, SecretSpec


class PyOnePassword(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.op = OP(existing_auth=EXISTING_AUTH_REQD)

    def test_vaults(self):
        self.assertIn("apps", [vault.name for vault in self.op.vault_list()])
        self.assertEqual(self.op.vault_get("apps").name, "apps")

    def test_items(self):
        titles = [item.title for item in self.op.item_list(vault="secrets", include_archive=True)]
        self.assertIn("postgres-database", titles)
        item = self.op.item_get("postgres-database", vault="secrets")
        self.assertEqual(item.title, "postgres-database")
        self.assertEqual(self.op.item_get_password("postgres-database", vault="secrets"), "s3cr3t-pg")

    def test_document(self):
        name, content = self.op.document_get("blob.bin", vault="secrets")
        self.assertEqual((name, content), ("blob.bin", bytes(range(256))))

    def test_missing(self):
        with self.assertRaises(OPItemGetException) as caught:
            self.op.item_get("none", vault="apps")
        self.assertIn("isn't an item in the \"apps\" vault", str(caught.exception.err_output))


class SecretSpecs(unittest.TestCase):
    """The library has secretspec's providers; that of 1Password runs `op`."""

    MANIFEST = """
[project]
name = "shop"
revision = "1.0"
[profiles.default]
STORED = { description = "an item with the name that secretspec gives it", required = true }
REFERENCE = { description = "any field", required = true, ref = { vault = "secrets", item = "postgres-database", field = "username" } }
"""

    def load(self):
        with tempfile.TemporaryDirectory() as directory:
            manifest = os.path.join(directory, "secretspec.toml")
            with open(manifest, "w", encoding="utf-8") as file:
                file.write(self.MANIFEST)
            before = os.getcwd()
            os.chdir(directory)
            try:
                return SecretSpec.builder().with_provider("onepassword://apps").with_reason("test").load()
            finally:
                os.chdir(before)

    def test_values(self):
        with self.assertRaises(MissingRequiredError) as caught:
            self.load()
        self.assertEqual(caught.exception.missing, ["STORED"])
        create = ["op", "item", "create", "--vault=apps", "--title=secretspec/shop/default/STORED", "--category=Password"]
        made = subprocess.run([*create, "--format=json", "value=s3cr3t-spec"], capture_output=True, text=True, check=True)
        try:
            values = {name: secret.get for name, secret in self.load().secrets.items()}
            self.assertEqual(values, {"STORED": "s3cr3t-spec", "REFERENCE": "app"})
        finally:
            subprocess.run(["op", "item", "delete", json.loads(made.stdout)["id"], "--vault=apps"], check=True)


class Ansible(unittest.TestCase):
    def lookup(self, plugin, arguments):
        connection = "connect_host=lookup('env', 'OP_CONNECT_HOST'), connect_token=lookup('env', 'OP_CONNECT_TOKEN')"
        message = f"{{{{ lookup('community.general.{plugin}', {arguments}, vault='secrets', {connection}) }}}}"
        ansible = os.path.join(os.path.dirname(sys.executable), "ansible")
        argv = [ansible, "localhost", "-c", "local", "-m", "ansible.builtin.debug", "-a", f'msg="{message}"']
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def test_field(self):
        self.assertIn('"msg": "s3cr3t-pg"', self.lookup("onepassword", "'postgres-database'"))

    def test_section(self):
        self.assertIn("sk_test_1", self.lookup("onepassword", "'api', field='key', section='stripe'"))

    def test_document(self):
        self.assertIn('"msg": ""', self.lookup("onepassword_doc", "'empty.bin'"))
