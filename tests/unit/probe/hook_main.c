/* SPDX-License-Identifier: Apache-2.0 */
#include "hook_program.h"

int main(int argc, char **argv)
{
	return hook_main(argc, argv);
}
