#!/bin/sh
# Stands in for git-sync: each directory in /repository is a commit, which is copied to a directory of its own, before a link is moved
# to it. The old commit is removed after that. The next commit comes when there is a file /tmp/next.
set -eu
for commit in /repository/*; do
    name=${commit##*/}
    mkdir -p /git/.worktrees
    cp -R "$commit" /git/.worktrees
    ln -s ".worktrees/$name" /git/.new
    mv -T /git/.new /git/current
    for old in /git/.worktrees/*; do
        [ "$old" = "/git/.worktrees/$name" ] || rm -rf "$old"
    done
    until [ -e /tmp/next ]; do sleep 0.2; done
    rm /tmp/next
done
exec sleep infinity
