"""The JSON shapes of answers: values of the engine as the API has them."""
