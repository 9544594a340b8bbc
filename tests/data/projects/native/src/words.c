#include <stdio.h>
#include "words.h"

const char *words(int count, char **given)
{
	static char said[32];

	(void)given;
	snprintf(said, sizeof(said), "%d words", count);
	return said;
}
