# SPDX-License-Identifier: Apache-2.0
"""Races in packages that people use: what is found when two calls of them are
explored, with no check written. See docs/real-bugs.md."""
