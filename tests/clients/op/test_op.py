"""pyonepassword, and the lookup plugins of Ansible's community.general."""

import os
import subprocess
import sys
import unittest

from pyonepassword import OP
from pyonepassword.api.authentication import EXISTING_AUTH_REQD
from pyonepassword.api.exceptions import OPItemGetException


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
